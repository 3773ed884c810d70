"""The command ``fastnn``: a file per command, imported when the command is called.

| file | what it holds |
|---|---|
| ``commands.py`` | the table of commands, ``main``, exit codes |
| ``settings.py`` | settings of ``train``: the fields that are its options, profiles, merging |
| ``options.py`` | options made from the fields of settings; options that several commands share |
| ``help.py`` | how the help is laid out |
| ``source.py`` | where data come from: a name, a file, standard input |
| ``data.py`` | which samples are trained with and which are held out |
| ``training.py``, ``searching.py`` | what ``train.py`` and ``search.py`` have the options of |
| ``rows.py`` | the rows of a file that a network was trained with, found again |
| ``scores.py`` | what stands beside an accuracy: baseline, balanced accuracy, AUC, cautions |
| ``board.py`` | a run's folder of summaries for TensorBoard |
| ``models.py`` | opening a model, and the data that belong to it |
| ``runs.py`` | run folders and their files |
| ``resuming.py`` | the settings of a run that goes on |
| ``signals.py`` | Ctrl-C and SIGTERM |
| ``output.py`` | tables, JSON, CSV |
| all others | the command of that name |
"""

from fastnn.cli.commands import app, main

__all__ = ["app", "main"]
