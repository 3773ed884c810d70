"""The page of ``fastnn play``: a network that is retrained while a slider moves.

| file | contents |
|---|---|
| ``settings.py`` | settings of a request: fields, bounds, defaults |
| ``data.py`` | points with classes, and the highest accuracy possible on them |
| ``training.py`` | one training run: snapshots, curves, scores; stops between chunks of steps |
| ``frames.py`` | encoding of a result as bytes |
| ``session.py`` | the connection of a page: only the latest request is answered |
| ``server.py`` | routes, checks of requests, start and shutdown |
| ``code.py`` | the settings of a page as a Python script and as a command |
| ``tables.py`` | columns of a CSV file for use as points |
| ``presets.py`` | the course's experiments, each described in a sentence |
| ``static/`` | the page |
"""
