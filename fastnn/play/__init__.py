"""The page of ``fastnn play``: a network that is trained anew while a slider moves.

| file | what it holds |
|---|---|
| ``settings.py`` | what a page may ask for: fields, bounds, defaults |
| ``data.py`` | points with classes, and the best accuracy that anyone can have on them |
| ``training.py`` | one training: snapshots, curves, scores; stopped between chunks |
| ``frames.py`` | a result as bytes |
| ``session.py`` | a page's connection: the latest request wins |
| ``server.py`` | addresses, refused requests, start and end |
| ``code.py`` | a page's settings as Python, as a command, as a model file |
| ``tables.py`` | two columns of a CSV file as points |
| ``presets.py`` | the course's experiments, a sentence each |
| ``static/`` | the page |
"""
