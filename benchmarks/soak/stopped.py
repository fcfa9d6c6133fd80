"""Runs that are stopped, moved, started twice, or run out of room: each has to end like one that was not."""

import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

from benchmarks.soak.case import Case
from benchmarks.soak.command import Blow, Done
from benchmarks.soak.runs import RUNS, STEPS, checkpoints, fit, need_same_end, need_whole, reference

ON = "--ckpt_path=last"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def draw(case: Case) -> tuple[str, Path, list[str], float]:
    """A run, its folder, the words that start it, with logs or without, and how many seconds it takes."""
    run, place = case.random.choice([*RUNS]), case.folder / "run"
    seconds = reference(case, run)[1]
    return run, place, fit(run, place, *case.random.choice([[], ["--trainer.logger=false"]])), seconds


def blow(case: Case, place: Path, seconds: float, *signals: int) -> Blow:
    """At any time, or in the middle of what is done to the files of checkpoints."""
    rng, pause = case.random, case.random.choice([0.0, 0.01, 0.1])
    if rng.random() < 0.5:
        return Blow(signals, rng.uniform(0.1, 1) * seconds, pause=pause)
    delay = rng.choice([0.0, rng.uniform(0, 0.005)])
    return Blow(signals, delay, rng.randint(1, 15), place / "checkpoints", pause)


def go_on(case: Case, run: str, place: Path, words: list[str]) -> None:
    """Resumes a run that is not at its end yet, which has to be that of the uninterrupted one."""
    if need_whole(case, run, place) < STEPS:
        case.need_success(case.run([*words, ON]))
    need_same_end(case, run, place)


def kill(case: Case) -> None:
    """SIGKILL, again and again."""
    run, place, words, seconds = draw(case)
    for start in range(case.random.randint(2, 6)):
        hit = blow(case, place, seconds, signal.SIGKILL)
        done = case.run([*words, ON] if start else words, blow=hit)
        if need_whole(case, run, place) == STEPS:
            break
        case.attacks += 1
        case.need(done.status == -signal.SIGKILL, f"status {done.status}: {done.err.strip()[-300:]}", done)
    go_on(case, run, place, words)


def signals(case: Case) -> None:
    """Signals that ask a training to stop, once or twice in a row."""
    run, place, words, seconds = draw(case)
    for start in range(case.random.randint(2, 5)):
        sent = [case.random.choice(SIGNALS)] * case.random.choice([1, 1, 1, 2])
        if len(sent) > 1 and case.random.random() < 0.3:
            sent[1] = case.random.choice(SIGNALS)
        before = need_whole(case, run, place)
        done = case.run([*words, ON] if start else words, blow=blow(case, place, seconds, *sent))
        answered(case, done, sent, before, need_whole(case, run, place))
        case.attacks += done.status != 0
        if need_whole(case, run, place) == STEPS:
            break
        if done.status == 128 + sent[0]:
            case.need_no_parts(place / "checkpoints")
    go_on(case, run, place, words)


def answered(case: Case, done: Done, sent: list[signal.Signals], before: int, after: int) -> None:
    """Whether a run answered its signals as it has to."""
    first, second = sent[0], sent[-1]
    if done.status == 128 + first:
        case.need(f"fewshot: stopped by {first.name}" in done.err, f"{first.name}: does not say so", done)
        told = [line for line in done.out.splitlines() if "--ckpt_path" in line]
        case.need(told or after == before, f"{first.name}: does not say how to go on", done)
    elif done.status == -first and len(sent) == 1:
        case.need(after in (before, STEPS), f"{first.name} ended a training after outer step {after} at once", done)
    else:
        case.need(done.status in (0, -first, -second), f"{first.name}: status {done.status}", done)


def moved(case: Case) -> None:
    """Stopped, and then the folder is moved or copied: best.ckpt goes with it."""
    run, place, words, seconds = draw(case)
    number = case.random.choice([signal.SIGKILL, signal.SIGTERM])
    case.run(words, blow=Blow((number,), case.random.uniform(0.4, 1) * seconds))
    if not checkpoints(run, place):
        return
    case.attacks += 1
    other = case.folder / "moved" / "run"
    shutil.copytree(place, other)
    kept = {file: file.read_bytes() for file in checkpoints(run, place).values()}
    copied = case.random.random() < 0.5
    if not copied:
        shutil.rmtree(place)
    words = [word.replace(f"={place}", f"={other}") for word in words]
    go_on(case, run, other, words)
    if copied:
        case.need(all(file.read_bytes() == content for file, content in kept.items()), "the original was changed")
    else:
        case.need(not place.exists(), "something was written to where the folder had been")


def twice(case: Case) -> None:
    """Two starts of one name, the first of which may be killed: one alone may train."""
    run, place, words, seconds = draw(case)
    hit = blow(case, place, seconds, signal.SIGKILL) if case.random.random() < 0.4 else None
    first = case.start(words, blow=hit)
    time.sleep(case.random.choice([0.0, case.random.uniform(0, 1.2 * seconds)]))
    second = case.start(words)
    ends = [case.ended(first), case.ended(second)]
    case.attacks += 1
    if ends[0].status != -signal.SIGKILL:
        statuses = [done.status for done in ends]
        case.need(statuses in ([0, 2], [2, 0]), f"two starts at once ended with {statuses}", ends[1])
    go_on(case, run, place, words)


def disk(case: Case) -> None:
    """The disk fills up: what was there stays, and with room again the run goes on. A small one needs root."""
    place = case.folder / "run"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    small = case.random.random() < 0.7 and not subprocess.run(mount, capture_output=True).returncode
    try:
        fill(case, place, small)
    finally:
        if small:
            subprocess.run(["umount", "-l", str(place)], check=True)


def fill(case: Case, place: Path, small: bool) -> None:
    """Leaves little room on the small disk, or lets no file grow large."""
    run, _, words, _ = draw(case)
    if case.random.random() < 0.7:  # there is something to lose
        case.run(words, blow=Blow((signal.SIGKILL,), 0, case.random.randint(4, 12), place / "checkpoints"))
    before, room, ballast = need_whole(case, run, place), case.random.randint(2_000, 200_000), place / "ballast"
    if small:
        ballast.write_bytes(bytes(max(0, shutil.disk_usage(place).free - room)))
        done = case.run([*words, ON])
        ballast.unlink()
    else:
        limits = room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        done = case.run([*words, ON], before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))
    case.attacks += 1
    case.need(done.status in (0, 2), f"status {done.status}: {done.err.strip()[-300:]}", done)
    case.need(need_whole(case, run, place) >= before, "last.ckpt is older than before", done)
    case.need_no_parts(place / "checkpoints")
    go_on(case, run, place, words)
