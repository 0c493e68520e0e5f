"""`python -m schemas.compatibility`: does what was valid stay valid?

Compares the models with the JSON Schemas that are committed, and exits with 1 and a list when a change would
break what lies in the log, or who reads it.

Incompatible: a field removed, a field required that was not, a narrower type or limit, a pattern that is new
or changed, an enum value removed, a constant changed, an event removed. Compatible: a new optional field, a
wider type or limit, a new enum value, a new event.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.generate import FOLDER, JSON_FOLDER, event_types, json_schema

Json = Mapping[str, Any]

_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_WIDENS = {("integer", "number")}


def incompatible_changes(old: Json, new: Json) -> list[str]:
    """Return what the schema `new` no longer accepts of what `old` did, one sentence each, field first."""
    return list(_Comparison(old, new).differ(old, new, ""))


class _Comparison:
    """Two whole schemas; knows how to follow references in each, and which pairs it is inside of."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old_root = old
        self._new_root = new
        self._inside: set[tuple[str, str]] = set()

    def differ(self, old: Json, new: Json, place: str) -> Iterator[str]:
        """Yield what `new` refuses of `old` at this place."""
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if all(pair):
            if pair in self._inside:
                return
            self._inside.add(pair)
        old, new = _resolve(self._old_root, old), _resolve(self._new_root, new)
        ways_old, ways_new = _ways(old), _ways(new)
        for way in ways_old:
            # The way out that breaks least explains best.
            yield from min((list(self._narrower(way, other, place)) for other in ways_new), key=len)
        self._inside.discard(pair)

    def _narrower(self, old: Json, new: Json, place: str) -> Iterator[str]:
        old, new = _resolve(self._old_root, old), _resolve(self._new_root, new)
        was, is_now = old.get("type"), new.get("type")
        if is_now is not None and was != is_now and (was, is_now) not in _WIDENS:
            yield _say(place, f"type was {was or 'anything'}, is {is_now}")
            return
        yield from _values(old, new, place)
        yield from _limits(old, new, place)
        yield from self._fields(old, new, place)
        yield from self._members(old, new, place)

    def _members(self, old: Json, new: Json, place: str) -> Iterator[str]:
        for keyword, step in (("items", "[]"), ("additionalProperties", ".*"), ("propertyNames", ".key")):
            before, after = old.get(keyword, {}), new.get(keyword)
            if isinstance(after, Mapping):
                yield from self.differ(before if isinstance(before, Mapping) else {}, after, place + step)
        patterns_old, patterns_new = old.get("patternProperties", {}), new.get("patternProperties", {})
        for pattern, values in patterns_new.items():
            if pattern in patterns_old:
                yield from self.differ(patterns_old[pattern], values, place + ".*")
            else:
                yield _say(place + ".key", f"pattern was {next(iter(patterns_old), 'free')}, is {pattern}")

    def _fields(self, old: Json, new: Json, place: str) -> Iterator[str]:
        fields_old, fields_new = old.get("properties", {}), new.get("properties", {})
        for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            yield _say(_under(place, name), "is required now")
        for name, field in fields_old.items():
            if name in fields_new:
                yield from self.differ(field, fields_new[name], _under(place, name))
            else:
                yield _say(_under(place, name), "is removed")


def _resolve(root: Json, node: Json) -> Json:
    while "$ref" in node:
        target: Any = root
        for part in str(node["$ref"]).removeprefix("#/").split("/"):
            target = target[part]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def _ways(node: Json) -> Sequence[Json]:
    """Return the alternatives that a value may take."""
    ways: Sequence[Json] = node.get("anyOf") or node.get("oneOf") or [node]
    return ways


def _allowed(node: Json) -> list[Any] | None:
    if "const" in node:
        return [node["const"]]
    allowed: list[Any] | None = node.get("enum")
    return allowed


def _values(old: Json, new: Json, place: str) -> Iterator[str]:
    before, after = _allowed(old), _allowed(new)
    if after is None:
        return
    if before is None:
        yield _say(place, f"was free, must be one of {after} now")
        return
    if "const" in old and "const" in new and before != after:
        yield _say(place, f"constant was {before[0]!r}, is {after[0]!r}")
        return
    for value in before:
        if value not in after:
            yield _say(place, f"value {value!r} is removed")


def _limits(old: Json, new: Json, place: str) -> Iterator[str]:
    for keywords, sign in ((_UPPER, 1), (_LOWER, -1)):
        for keyword in keywords:
            before, after = old.get(keyword), new.get(keyword)
            if after is not None and (before is None or sign * after < sign * before):
                yield _say(place, f"{keyword} was {'free' if before is None else before}, is {after}")
    if new.get("pattern") not in (None, old.get("pattern")):
        yield _say(place, f"pattern was {old.get('pattern', 'free')}, is {new['pattern']}")


def _under(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _say(place: str, what: str) -> str:
    return f"{place or 'the whole'}: {what}"


def committed(revision: str) -> Mapping[str, Json]:
    """Return the JSON Schemas of a git revision by event type; empty without git, or when it has none."""
    git = shutil.which("git")
    if git is None:
        return {}
    listed = _git(git, "ls-tree", "--name-only", f"{revision}:./{JSON_FOLDER}")
    return {
        Path(name).stem: json.loads(_git(git, "show", f"{revision}:./{JSON_FOLDER}/{name}"))
        for name in listed.split()
    }


def _git(git: str, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - the program is git, the arguments are ours
        [git, "-C", str(FOLDER), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else ""


def in_folder(folder: Path) -> Mapping[str, Json]:
    """Return the JSON Schemas that lie in a folder, by event type."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def check(baseline: Mapping[str, Json]) -> list[str]:
    """Return every incompatible change of the models against a baseline, each with its event's type."""
    models = event_types()
    found = [f"{name}: the event is removed" for name in baseline if name not in models]
    for name, model in models.items():
        if name in baseline:
            found += [
                f"{name}: {each}" for each in incompatible_changes(baseline[name], json_schema(name, model))
            ]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Compare and report. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.compatibility", description=__doc__)
    parser.add_argument("--since", default="HEAD", help="the git revision to compare with (default: HEAD)")
    parser.add_argument("--folder", type=Path, help="compare with the files of this folder instead")
    options = parser.parse_args(arguments)
    baseline = in_folder(options.folder) if options.folder else committed(options.since)
    baseline = baseline or in_folder(FOLDER / JSON_FOLDER)
    found = check(baseline)
    for each in found:
        sys.stdout.write(f"incompatible: {each}\n")
    if not found:
        sys.stdout.write(f"compatible with all {len(baseline)} events\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
