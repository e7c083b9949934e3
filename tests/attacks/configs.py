"""Mutate the shipped configs and load them as reskd train does, up to check_networks.

    python -m tests.attacks.configs --count 2000 --seed 0

Silent change: a value that the mutated file holds and the resolved config does not.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from reskd.experiment.stages import check_stages, load_stages
from reskd.faults import sentence_of
from tests.attacks.config_values import NO_SETTINGS, differences, leaves
from tests.attacks.outcomes import HangError, Outcome, deadline, report

ROOT = Path(__file__).parents[2]

# Texts that stand in the place of a value.
_NUMBERS = """0 1 -1 2 3 7 8 16 64 0.0 -0.0 0.5 1.0 1e-9 1e30 -1e30 1e308 1e999 1e-999 10000000000 999999999
2147483648 18446744073709551616 -9223372036854775809 .inf -.inf .nan inf nan 1_000 0123 0x1F 0o17 0b11 1:30 1:30:00
1e 1.5.2 5.0e+1 +3 1,5 1. .5 \u0661\u0662"""
_WORDS = """true false yes no on off True NO null ~ '' "" "8" 'true' abc resnet18 none auto <<: "\\0" "\\ud800" = !
@ ` % 2026-01-05 2026-01-05T10:00:00Z
!!int !!binary !!python/name:os.system & * ? - [ ] { } , /dev/stdin /dev/zero / . ..
../.. ~/x $HOME %s {} {0} caf\u00e9 \u65e5\u672c \\udc80 a\\0b"""
NUMBERS, WORDS = _NUMBERS.split(), _WORDS.split()
STRUCTURES = [
    "[]", "{}", "[1]", "[1, 2, 3]", "[[1, 2], [3]]", "{a: 1}", "{kind: x}", "[true, false]", "[null]", "{1: 2}",
    "[" * 3000 + "]" * 3000, "{a: " * 3000 + "1" + "}" * 3000, "[" * 500, "9" * 5000, "1" + "0" * 400, "x" * 100_000,
    "&a [x, &b {c: 1}]", "*a", "&a [*a]", "!!float 3", "!!str 8", "!!set {a}", "? [1]", "{a: 1, a: 2}", "'a\tb'", "\t1",
    "{kind: dense, stride: 1e30}", "{size: 1000000000}", "{size: [1, 1e30]}", "{family: tsn, backbone: resnet152}",
]  # fmt: skip
BOMB = "b0: &b0 [x, x, x, x]\n" + "".join(f"b{n + 1}: &b{n + 1} [*b{n}, *b{n}, *b{n}, *b{n}]\n" for n in range(12))


def mutate(text: str, rng: random.Random) -> tuple[str, str]:
    """A mutated config's text and the name of the mutation."""
    name = rng.choices(list(MUTATIONS), weights=[weight for weight, _ in MUTATIONS.values()])[0]
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return MUTATIONS[name][1](lines, rng), name


def _other_value(lines: list[str], rng: random.Random) -> str:
    where = [number for number, line in enumerate(lines) if ":" in line]
    number = rng.choice(where)
    line = lines[number].partition(" #")[0]
    # The value of one key, on a line of its own or in a group in braces.
    starts = [at for at in range(len(line)) if line[at] == ":" and line[at + 1 : at + 2] in (" ", "")]
    at = rng.choice(starts or [len(line) - 1])
    stop = min((found for mark in ",}" if (found := line.find(mark, at)) > 0), default=len(line))
    value = rng.choice(rng.choice((NUMBERS, WORDS, STRUCTURES)))
    return _joined([*lines[:number], f"{line[: at + 1]} {value}{line[stop:]}", *lines[number + 1 :]])


def _other_key(lines: list[str], rng: random.Random) -> str:
    number = rng.randrange(len(lines))
    key, colon, rest = lines[number].partition(":")
    word = key.strip(" -")
    changed = rng.choice(
        (
            word[:-1],
            word + "s",
            word.upper(),
            word[::-1],
            "1",
            "yes",
            "",
            "base",
            "<<",
            "kind",
            f"'{word}'",
            f"{word}.x",
        )
    )
    return _joined([*lines[:number], key.replace(word, changed) + colon + rest, *lines[number + 1 :]])


def _without_line(lines: list[str], rng: random.Random) -> str:
    number = rng.randrange(len(lines))
    return _joined(lines[:number] + lines[number + 1 :])


def _double_line(lines: list[str], rng: random.Random) -> str:
    number, to = rng.randrange(len(lines)), rng.randrange(len(lines) + 1)
    line = lines[number]
    if rng.random() < 0.5:
        line = line.partition(":")[0] + ": " + rng.choice(NUMBERS + WORDS)
        to = number + 1
    return _joined([*lines[:to], line, *lines[to:]])


def _swapped_lines(lines: list[str], rng: random.Random) -> str:
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    (key, colon, value), (key2, colon2, value2) = lines[first].partition(":"), lines[second].partition(":")
    lines = [*lines]
    lines[first], lines[second] = key + colon + value2, key2 + colon2 + value
    return _joined(lines)


def _indented(lines: list[str], rng: random.Random) -> str:
    number = rng.randrange(len(lines))
    indent = rng.choice(("\t", " ", "  ", "   ", "\u00a0", "- ", "? "))
    line = indent + lines[number] if rng.random() < 0.7 else lines[number].lstrip()
    return _joined([*lines[:number], line, *lines[number + 1 :]])


def _junk(lines: list[str], rng: random.Random) -> str:
    text = list(_joined(lines))
    for _ in range(rng.choice((1, 1, 3, 20))):
        text[rng.randrange(len(text))] = chr(
            rng.choice((rng.randrange(32, 127), rng.randrange(32), rng.randrange(0x250, 0x2FFF)))
        )
    return "".join(text)


def _cut(lines: list[str], rng: random.Random) -> str:
    text = _joined(lines)
    return text[: rng.randrange(len(text))]


def _wrapped(lines: list[str], rng: random.Random) -> str:
    text = _joined(lines)
    around = (
        "{0}{0}",
        "---\n{0}...\n",
        "--- \n{0}---\n{0}",
        "\ufeff{0}",
        "%YAML 1.1\n---\n{0}",
        BOMB + "{0}",
        "{0}" + BOMB,
    )
    after = ("zzz: 1", "<<: {seed: 3}", "stages: [{name: a}, {name: a}]", "stages: 3", "base: ''", "base: .")
    after += ("base: /dev/zero", "base: no_such.yaml")
    indented = "".join(f"  {line}\n" for line in lines)
    return rng.choice(
        [one.replace("{0}", text) for one in around]
        + [f"{text}{one}\n" for one in after]
        + [text.replace("\n", "\r\n"), f"a:\n{indented}", "", "\n", "3", "[]", "- a", text * 300]
    )


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


MUTATIONS: Mapping[str, tuple[int, Callable[[list[str], random.Random], str]]] = {
    "other value": (10, _other_value),
    "other key": (3, _other_key),
    "without line": (1, _without_line),
    "double line": (3, _double_line),
    "swapped values": (2, _swapped_lines),
    "other indent": (1, _indented),
    "junk": (2, _junk),
    "cut": (1, _cut),
    "wrapped": (1, _wrapped),
}


def try_config(path: Path, overrides: Sequence[str], cpu_seconds: float) -> Outcome:
    """Load a config, check its networks, and compare its resolved values with the file's."""
    about = f"{path.name} {' '.join(overrides)[:200]}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    try:
        with deadline(cpu_seconds):
            configs = load_stages(path, overrides)
            check_stages(configs)
    except HangError:
        return Outcome("hang", f"{about}: more than {cpu_seconds} s of processor time")
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None or len(sentence) > 5000:
            return Outcome("traceback", f"{about}: {type(error).__name__}: {str(error)[:300]}")
        return Outcome("refused in a sentence", sentence)
    except BaseException as error:  # such as a panic of a library in Rust
        return Outcome("traceback", f"{about}: {type(error).__name__}: {str(error)[:300]}")
    changed = [] if overrides else list(differences(path.read_text(encoding="utf-8-sig"), configs))
    seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    if changed:
        return Outcome("silent change", f"{about}: {'; '.join(changed[:3])}")
    return Outcome("worked", f"{seconds:.1f} s")


def random_override(text: str, rng: random.Random) -> str:
    """A key.sub=value argument for a key of the config, or for one that is not there."""
    found = [keys for keys, _ in leaves(yaml.compose(text, Loader=yaml.SafeLoader), ()) if keys[0] not in NO_SETTINGS]
    keys = list(rng.choice(found or [("seed",)]))
    if rng.random() < 0.2:
        keys[rng.randrange(len(keys))] = rng.choice(("", "x", "0", "data", "\u00e9"))
    return f"{'.'.join(keys)}={rng.choice(rng.choice((NUMBERS, WORDS, STRUCTURES)))[:100_000]}"


def attack(count: int, seed: int, folder: Path, *, cpu_seconds: float = 60) -> list[Outcome]:
    """Try ``count`` mutations of the shipped configs, copied into ``folder``.

    Args:
        cpu_seconds: after which a mutated config counts as a hang, beyond what the whole one takes.
    """
    shutil.copytree(ROOT / "configs", folder / "configs", dirs_exist_ok=True)
    originals = sorted((folder / "configs").rglob("*.yaml"))
    seconds_of: dict[Path, float] = {}
    outcomes = []
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        original = rng.choice(originals)
        path = original.with_name(f"mutated_{number}.yaml")
        text, name = original.read_text(encoding="utf-8"), "override"
        overrides = []
        if rng.random() < 0.15:
            overrides = [random_override(text, rng)]
        else:
            text, name = mutate(text, rng)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        if original not in seconds_of:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
            try_config(original, [], 600)
            seconds_of[original] = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        outcome = try_config(path, overrides, seconds_of[original] + cpu_seconds)
        outcomes.append(
            outcome._replace(about=f"{number} ({original.parent.name}/{original.name}, {name}): {outcome.about}")
        )
        path.unlink()
    return outcomes


def attack_tools(count: int, seed: int, folder: Path) -> list[Outcome]:
    """The same as commands: reskd train and reskd doctor on the demo's configs, mutated, without its data."""
    shutil.copytree(ROOT / "configs", folder / "configs", dirs_exist_ok=True)
    original = folder / "configs/demo/baseline.yaml"
    outcomes = []
    for number in range(count):
        rng = random.Random(f"{seed} tool {number}")
        text, name = mutate(original.read_text(encoding="utf-8"), rng)
        path = original.with_name(f"mutated_tool_{number}.yaml")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        tool = ("train", "doctor")[number % 2]
        command = [sys.executable, "-m", "reskd", tool, str(path)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        about = f"reskd {tool} {number} ({name}): exit code {done.returncode}: {done.stderr[-300:]}"
        if "Traceback" in done.stderr or "fault of reskd" in done.stderr or done.returncode not in (0, 1):
            outcomes.append(Outcome("traceback", about))
        elif done.returncode == 1 and "error: " not in done.stderr and "PROBLEM" not in done.stdout:
            outcomes.append(Outcome("silent change", about))
        else:
            outcomes.append(Outcome("worked" if done.returncode == 0 else "refused in a sentence", about))
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="mutations (default %(default)s)")
    parser.add_argument("--commands", type=int, default=20, help="of these as commands, besides (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = attack(chosen.count, chosen.seed, Path(folder), cpu_seconds=2)
        outcomes += attack_tools(chosen.commands, chosen.seed, Path(folder))
    text, code = report(outcomes)
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
