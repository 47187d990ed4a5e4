"""Known answers of the package cryptography_vectors that the gate does not run, for the model of the CAAM."""

from collections.abc import Iterator
from importlib.resources import files


def read_records(path: str) -> Iterator[dict[str, str]]:
    """Yield the records of a vector file: `name = value` lines, names in lower case, up to an empty line.

    A line in brackets holds for the records that follow: ``[IVlen = 96]`` is their field `ivlen`, ``[DECRYPT]`` their
    field `section`. So does a key that stands alone.
    """
    section: dict[str, str] = {}
    record: dict[str, str] = {}
    for line in [*(files("cryptography_vectors") / path).read_text().splitlines(), ""]:
        text = line.strip()
        if text.startswith("["):
            for part in text.strip("[]").split(","):
                name, _, value = part.partition("=")
                section.update({name.strip().lower(): value.strip()} if value else {"section": name.strip()})
        elif "=" in text and not text.startswith("#"):
            name, _, value = text.partition("=")
            record[name.strip().lower()] = value.strip()
        elif not text and record:
            if record.keys() == {"key"}:
                section |= record
            else:
                yield section | record
            record = {}
