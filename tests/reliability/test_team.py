"""The barrier, the claims and the tickets: every interleaving of a model; ThreadSanitizer."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from team_model import Protocol, faults

from fastnn.backends import codes

HERE = Path(__file__).parent
HEADERS = HERE.parents[1] / "src_cython"


# --- the model ------------------------------------------------------------------------


class ReleasedBeforeReset(Protocol):
    def count(self, state, k, thread):
        state = super().count(state, k, thread)
        if state.threads[k].at == "reset":
            state = self.go(state, k, state.threads[k]._replace(at="release"))
        return state

    def release(self, state, k, thread):
        return self.go(state, k, thread._replace(at="reset"), turn=thread.read + 1)

    def reset(self, state, k, thread):
        return self.go(state, k, self.passed(thread), arrived=0)


class ReadAfterwards(Protocol):
    """The turn is read once the thread is counted."""

    def arrive(self, state, k, thread):
        last = state.arrived == self.n_threads - 1
        thread = thread._replace(at="reset" if last else "read")
        return self.go(state, k, thread._replace(read=state.turn * last), arrived=state.arrived + 1)

    def read(self, state, k, thread):
        return self.go(state, k, thread._replace(at="wait", read=state.turn))


class NeverLooks(Protocol):
    def wait(self, state, k, thread):
        passed = state.turn != thread.read
        return self.go(state, k, self.passed(thread) if passed else thread)


class NeverReset(Protocol):
    def reset(self, state, k, thread):
        return self.go(state, k, thread._replace(at="release"))


class TakesWithoutComparing(Protocol):
    def take(self, state, k, thread):
        return self.own(state, k, thread)


class ClaimsOnlyOnce(Protocol):
    def see(self, state, k, thread):
        if state.claimed:
            return self.go(state, k, self.worked(thread))
        return super().see(state, k, thread)


@pytest.mark.parametrize("absent", [False, True], ids=["all come", "one does not come"])
@pytest.mark.parametrize(("n_threads", "steps"), [(2, 3), (3, 3), (4, 2)])
def test_no_order_of_the_threads_goes_wrong(n_threads, steps, absent):
    assert faults(Protocol(n_threads, steps, absent)) == set()


@pytest.mark.parametrize(
    ("protocol", "absent", "found"),
    [
        (ReleasedBeforeReset, False, "stuck"),
        (ReadAfterwards, False, "stuck"),
        (NeverReset, False, "stuck"),
        (NeverLooks, True, "stuck"),
        (TakesWithoutComparing, False, "twice"),
        (ClaimsOnlyOnce, False, "lost"),
    ],
)
def test_the_search_finds_faults(protocol, absent, found):
    assert found in faults(protocol(2, 2, absent))


# --- ThreadSanitizer ------------------------------------------------------------------


@pytest.fixture
def build(tmp_path):
    """Compile ``team.c`` with the header, or with a text in it replaced."""
    compiler = shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("ThreadSanitizer of GCC")

    def build(old="", new=""):
        header = (HEADERS / "threads.h").read_text(encoding="utf-8")
        assert old in header
        (tmp_path / "threads.h").write_text(header.replace(old, new), encoding="utf-8")
        numbers = [f"-D{name}={getattr(codes, name)}" for name in ("SYNC_SIZE", "SYNC_ABORT")]
        command = [compiler, "-fsanitize=thread", "-g", "-O1", "-pthread", *numbers]
        command += [f"-I{tmp_path}", f"-I{HEADERS}"]
        command += [str(HERE / "team.c"), "-o", str(tmp_path / "team")]
        done = subprocess.run(command, capture_output=True, text=True)
        if "libtsan" in done.stderr:
            pytest.skip("no ThreadSanitizer here")
        assert done.returncode == 0, done.stderr
        return tmp_path / "team"

    return build


def run(program, n_threads, steps, absent, timeout):
    """What ThreadSanitizer or the program itself complains of; "hangs" after a while."""
    command = [str(program), str(n_threads), str(steps), str(absent)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return "hangs"
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer does not run on this kernel")
    return done.stderr if done.returncode else ""


def test_a_team_under_thread_sanitizer(build):
    program = build()
    for n_threads in (2, 3, 4):
        for absent in (-1, 0, n_threads - 1):
            assert run(program, n_threads, 40, absent, timeout=300) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("__ATOMIC_ACQUIRE)\n#define ATOMIC_STORE", "__ATOMIC_RELAXED)\n#define ATOMIC_STORE"),
        ("value, __ATOMIC_RELEASE)", "value, __ATOMIC_RELAXED)"),
        ("value, __ATOMIC_ACQ_REL)\n#define ATOMIC_COMPARE_EXCHANGE",
         "value, __ATOMIC_RELAXED)\n#define ATOMIC_COMPARE_EXCHANGE"),
    ],
    ids=["load", "store", "add"],
)  # fmt: skip
def test_thread_sanitizer_finds_weaker_orders(build, old, new):
    program = build(old, new)
    assert "data race" in run(program, 2, 100, -1, timeout=300)
