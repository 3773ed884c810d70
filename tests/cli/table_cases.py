"""Calls of the command line for the tests with tables."""

from fastnn import cli

QUICK = ("--epochs", "30", "--seed", "1")


def call(capsys, *arguments, code=0):
    capsys.readouterr()
    found = cli.main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    assert found == code, err
    return out, err


def refused(capsys, *arguments):
    out, err = call(capsys, *arguments, code=2)
    assert out == ""
    assert err.count("\n") == 1
    return err
