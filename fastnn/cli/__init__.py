"""The command ``fastnn``: one module per command, imported only when the command is called.

| file | contents |
|---|---|
| ``commands.py`` | the table of commands, ``main``, exit codes |
| ``settings.py`` | settings of ``train``: fields (also its options), defaults, merging |
| ``options.py`` | options generated from settings fields; options shared by several commands |
| ``help.py`` | layout of the help texts |
| ``source.py`` | data sources: a built-in name, a file, standard input |
| ``data.py`` | split into training and held-out samples |
| ``training.py``, ``searching.py`` | the work of ``train.py`` and ``search.py`` |
| ``rows.py`` | recording the training rows of a file and finding them again |
| ``scores.py`` | scores next to the accuracy: baseline, balanced accuracy, AUC, cautions |
| ``board.py`` | TensorBoard summaries of a run |
| ``models.py`` | opening a model and the data that belong to it |
| ``runs.py`` | run folders and their files |
| ``resuming.py`` | settings of a resumed run |
| ``signals.py`` | Ctrl-C and SIGTERM |
| ``output.py`` | tables, JSON, CSV, exit codes |
| ``clusters.py``, ``tabular_search.py`` | Dask clusters and the preset tabular of ``search`` |
| ``predicting.py``, ``ranges.py`` | predictions in parts; rows outside the training range |
| ``tables.py``, ``files.py`` | encoding of table files; options for reading files |
| ``report.py``, ``contents.py`` | ``report.html`` of ``train``; description of a model file |
| all others | the command of that name |
"""

from fastnn.cli.commands import app, main

__all__ = ["app", "main"]
