"""The golden vectors as tables: `python -m trimtab.vectors PAGE` brings those of a page up to date.

A page holds, around each table, `<!-- vectors: NAME -->` and `<!-- end -->`; what is between is replaced.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

Vectors = Mapping[str, Any]
_MARKED = re.compile(r"(<!-- vectors: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


class BadPage(ValueError):
    """A page that names a table that there is not, or none at all."""


def vectors() -> dict[str, Any]:
    """Return the golden vectors as they ship."""
    document: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))
    return document


def render(page: str) -> str:
    """Return the page with its tables as the vectors have them today. Raises BadPage."""
    shipped = vectors()

    def replaced(match: re.Match[str]) -> str:
        table = TABLES.get(match[2])
        if table is None:
            raise BadPage(f"there is no table {match[2]}: use one of {', '.join(TABLES)}")
        return f"{match[1]}\n{table(shipped)}\n\n{match[3]}"

    text, count = _MARKED.subn(replaced, page)
    if not count:
        raise BadPage("the page marks no place for a table: <!-- vectors: NAME --> ... <!-- end -->")
    return text


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: Any) -> str:
    """Return a value as JSON in code; a long id as its first character and its length."""
    if isinstance(value, str) and len(value) > 40 and len(set(value)) == 1:
        return f"`{json.dumps(value[0])}` × {len(value)}"
    # Escapes beside the character: `é` alone could be one code point or two.
    text = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
    plain = json.dumps(value)
    return f"`{text}`" if text.isascii() or not isinstance(value, str) else f"`{text}` `{plain}`"


def _buckets(shipped: Vectors) -> str:
    rows = (
        (_shown(each["salt"]), _shown(each["unit_id"]), f"`{each['first_8_bytes']}`", _shown(each["bucket"]))
        for each in shipped["buckets"]
    )
    return _table(("salt", "unit", "first 8 bytes", "place"), rows)


def _growthbook(shipped: Vectors) -> str:
    rows = (
        (_shown(each["salt"]), _shown(each["unit_id"]), _shown(each["bucket"]))
        for each in shipped["growthbook_v2"]
    )
    return _table(("salt", "unit", "place"), rows)


def _variants(shipped: Vectors) -> str:
    names = ("weights", "coverage", "salt", "unit_id", "variant")
    return _table(names, ([_shown(each[name]) for name in names] for each in shipped["variants"]))


def _members(shipped: Vectors) -> str:
    rows = (
        (
            _shown(each["hashing"]),
            _shown(each["salt"]),
            f"`[{each['start']}, {each['end']})`",
            _shown(each["unit_id"]),
            _shown(each["member"]),
        )
        for each in shipped["members"]
    )
    return _table(("hashing", "salt", "share", "unit", "belongs to it"), rows)


def _attributes(shipped: Vectors) -> str:
    return _block([json.dumps(shipped["attributes"], indent=2, ensure_ascii=False)])


def _conditions(shipped: Vectors) -> str:
    rows = (
        (
            _shown(each["condition"]),
            _shown(each["answer"]),
            _shown(each["javascript"]) if "javascript" in each else "",
        )
        for each in shipped["conditions"]
    )
    return _table(("condition", "fulfilled", "unlike here, in GrowthBook's JavaScript SDK"), rows)


def _rules(shipped: Vectors) -> str:
    rules = shipped["evaluations"]["rules"]
    parts = [f'"revision": {rules["revision"]},']
    for name in ("experiments", "models"):
        each = ",\n    ".join(json.dumps(record) for record in rules[name])
        parts.append(f'"{name}": [\n    {each}\n  ]' + ("," if name == "experiments" else ""))
    return _block(["{", *(f"  {part}" for part in parts), "}"])


def _block(lines: Sequence[str]) -> str:
    return "\n".join(("```json", *lines, "```"))


def _evaluations(shipped: Vectors) -> str:
    told = ("variant", "value", "reason", "in_experiment")
    rows = (
        [_shown(each[name]) for name in ("key", "unit_id")]
        + [_shown(each[name]) if name in each else "" for name in ("attributes", "given")]
        + [_shown(each["assignment"][name]) for name in told]
        for each in shipped["evaluations"]["cases"]
    )
    return _table(("key", "unit", "attributes", "given before", *told), rows)


TABLES: Final[Mapping[str, Callable[[Vectors], str]]] = {
    "buckets": _buckets,
    "growthbook_v2": _growthbook,
    "variants": _variants,
    "members": _members,
    "attributes": _attributes,
    "conditions": _conditions,
    "rules": _rules,
    "evaluations": _evaluations,
}


def main(arguments: Sequence[str]) -> int:
    """Rewrite the page that is named; without one, print the vectors. Returns the exit code."""
    if not arguments:
        sys.stdout.write(json.dumps(vectors(), indent=2) + "\n")
        return 0
    page = Path(arguments[0])
    try:
        page.write_text(render(page.read_text("utf-8")), "utf-8")
    except (BadPage, OSError) as error:
        sys.stderr.write(f"{page}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
