"""Texts that a hostile board or file contains, and what none of them may do to a person or a CI server."""

import re

SAMPLES = {
    "clear the screen": "\033[2J\033[H",
    "conceal what follows": "\033[8m",
    "window title": "\033]0;x\007",
    "hyperlink": "\033]8;;http://192.0.2.1/\033\\click\033]8;;\033\\",
    "CSI of C1": "\x9b2J",
    "NUL and DEL": "a\0b\x7fc",
    "overwrite the line": "lab trouble\rgood\b\b",
    "vertical tab and form feed": "a\x0bb\x0cc",
    "bidirectional override": "\u202edoog\u202c \u2066x\u2069",
    "zero width": "go\u200bo\u2060d\ufeff",
    "line separators": "a\u2028OUTCOME  good\u2029b\x85c",
    "lone surrogate": "\udc9b",
    "private use": "\ue0b0\U000f0000",
    "combining marks": "x" + "\u0335\u0489" * 9,
    "invisible letters": "\u115f\u3164\uffa0",
    "GitHub": "::error file=x::y",
    "GitHub, indented": "\t ::add-mask::y",
    "GitHub, stopped": "::stop-commands::y",
    "GitHub, first version": "text ##[error]y",
    "GitHub, invisible letter": "##\u3164[error]y\n\u200b::error::y",
    "Azure": "text ##vso[task.setvariable variable=x]y",
    "TeamCity": "##teamcity[buildStatus text='good']",
    "GitLab": "\033[0Ksection_start:1:x\r\033[0Ky",
    "verdict": "OUTCOME  good, exit status 0",
    "verdict, coloured": "\033[1mOUTCOME  \033[1;32mgood\033[0m",
    "summary of pytest": "======== 890 passed in 89.00s ========",
    "markup": "<script>alert(1)</script><!--]]>&lt;",
    "markup of rich": "[bold red]x[/] [/nothing] :smile:",
}
"""Name -> text of one or more lines. All but the markup and the summary contain what `find_harmful` finds."""

TEXT = "\n".join(SAMPLES.values())

HARMFUL = {
    "control character": r"[^\n\t\x20-\x7e\xa0-\U0010ffff]",
    "format character": "[\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]",
    "not a character of a text": "[\ud800-\udfff\ue000-\uf8ff\U000f0000-\U0010ffff]",
    "combining or invisible": "[\u0300-\u036f\u0483-\u0489\u115f\u1160\u3164\uffa0\ufe00-\ufe0f]",
    "command anywhere": r"##\w*\[",
    "command at the start of a line": r"^\s*::",
    "forged verdict": r"^\s*OUTCOME",
}
"""What may not be in an output: name -> regular expression."""


def find_harmful(text: str) -> list[str]:
    """Return each line of an output with something harmful in it, after the name of what is harmful."""
    return [
        f"{name}: {line!r}"
        for name, pattern in HARMFUL.items()
        for line in text.split("\n")
        if re.search(pattern, line)
    ]
