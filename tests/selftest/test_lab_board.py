"""Is a valid board file read, and is every error reported with its file and line?"""

from pathlib import Path

import pytest

from fixtures import limits
from fixtures.lab.board import Counter, Interrupts, load_board
from fixtures.outcome import UsageError

BOARDS = Path(__file__).parents[2] / "boards"

GOOD = """\
description: a board for this test
architecture: mipsel
libc: musl
bootloader:
  kind: u-boot
  prompt: "=> "
  interrupt:
    when: Hit any key
    send: " "
  timeout: 30
boot:
  tftp: [tftpboot, booti]
linux: {login: "login: ", user: root, prompt: "# ", timeout: 120}
openssl:
  engine: devcrypto
  settings: {USE_SOFTDRIVERS: "1", CIPHERS: ALL}
cryptodev: {module: cryptodev, device: /dev/crypto}
algorithms:
  AES-128-CBC: {kernel: cbc(aes), driver: cbc-aes-caam}
  SHA256: {kernel: sha256}
witnesses:
  - kind: interrupts
    name: job rings
    match: '{device}$'
    device: /sys/bus/platform/devices/*.jr
    per_operation: 0.5
  - {kind: counter, name: dequeued, path: /sys/kernel/debug/*/ctl/rq_dequeued, per_operation: 1}
throughput:
  - algorithm: aes-128-cbc
    processes: 1
    bounds:
      16: {floor: 1.0e+5, ceiling: 4.0e+7}
      16384: {floor: 0, ceiling: 4.0e+7}
    calibrated: today, on this unit
flash:
  nor:
    at: u-boot
    image: kernel
    write: ["sf write {kernel}"]
    read_back: [sf read, crc32]
    boot: [sf read, booti]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder `boards` with one valid file, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards/good.yaml").write_text(GOOD)
    return tmp_path / "boards"


def errors_of(name: str, folder: Path) -> list[str]:
    """Return the lines of the error from loading a board."""
    with pytest.raises(UsageError) as caught:
        load_board(name, folder)
    return str(caught.value).splitlines()


def errors_in(text: str, folder: Path) -> list[str]:
    """Return the lines of the error from a board file with this text."""
    (folder / "bad.yaml").write_text(text)
    return errors_of("bad", folder)


def test_virt_board_promises_what_the_gate_needs() -> None:
    board = load_board("virt", BOARDS)
    sizes, modes, digests = (128, 192, 256), ("CBC", "ECB", "CTR"), ("1", "224", "256", "384", "512")
    assert set(board.algorithms) == {f"AES-{s}-{m}" for s in sizes for m in modes} | {f"SHA{d}" for d in digests}
    offloaded = {name for name, algorithm in board.algorithms.items() if algorithm.driver}
    assert offloaded == {"AES-128-CBC", "AES-192-CBC", "AES-256-CBC"}
    assert (board.name, board.made_by, board.architecture, board.libc) == ("virt", "fixtures.virt", "aarch64", "glibc")
    assert board.openssl.settings == {"USE_SOFTDRIVERS": "1"}
    assert board.layers == ("openssl", "engine", "engine-explicit", "cryptodev", "afalg")
    assert "tftp" in board.boot
    assert board.witnesses
    assert board.throughput


def test_all_values_of_a_valid_file_are_read(folder: Path) -> None:
    board = load_board("good", folder)
    assert board.name == "good"
    assert board.made_by is None
    assert board.bootloader.interrupt.send == " "
    assert board.bootloader.timeout == 30.0
    assert board.boot == {"tftp": ("tftpboot", "booti")}
    assert list(board.openssl.settings.items()) == [("USE_SOFTDRIVERS", "1"), ("CIPHERS", "ALL")]
    interrupts, counter = board.witnesses
    assert isinstance(interrupts, Interrupts)
    assert isinstance(counter, Counter)
    assert interrupts.pattern("1710000.jr").search("78: 5 GIC 71 Level 1710000.jr")
    assert not interrupts.pattern("1710000.jr").search("78: 5 GIC 71 Level 1710000xjr")
    assert counter.per_operation == 1.0
    assert board.throughput[0].bounds[16].floor == 1e5
    assert board.throughput[0].bounds[16384].floor == 0
    assert (board.throughput[0].calibrated, board.throughput[0].uncalibrated) == ("today, on this unit", None)
    assert board.flash["nor"].read_back == ("sf read", "crc32")
    assert not board.flash["nor"].restarts


def test_default_layers_are_all_but_afalg(folder: Path) -> None:
    assert load_board("good", folder).layers == ("openssl", "engine", "engine-explicit", "cryptodev")
    (folder / "child.yaml").write_text("extends: good\nlayers: [engine, afalg]\n")
    assert load_board("child", folder).layers == ("engine", "afalg")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("[engine, caam]", '2: layers[1]: found "caam"; expected openssl, engine, engine-explicit, cryptodev or afalg'),
        ("[engine, afalg, engine]", "2: layers[2]: found the layer engine again, as in [0]; expected it once"),
        ("[]", "2: layers: found an empty list; expected at least one layer"),
        ("afalg", '2: layers: found "afalg"; expected a list'),
    ],
)
def test_invalid_layers_are_reported_with_their_line(folder: Path, layers: str, message: str) -> None:
    assert errors_in(f"extends: good\nlayers: {layers}\n", folder) == [f"boards/bad.yaml:{message}"]


def test_board_is_immutable(folder: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_board("good", folder).libc = "glibc"


# Text of GOOD, its replacement, and the expected line, path and message.
INVALID_VALUES = [
    (
        "  engine: devcrypto",
        "  enginee: devcrypto",
        "15: openssl.enginee: unknown key; known here: engine, settings, environment",
    ),
    ("  engine: devcrypto\n", "", "14: openssl.engine: missing; expected text"),
    ("libc: musl", "libc: newlib", '3: libc: found "newlib"; expected glibc or musl'),
    ("libc: musl", "libc: musl\nname: x", "4: name: unknown key; known here: extends, sections_from, description,"),
    ("mipsel", "sparc", '2: architecture: found "sparc"; expected aarch64, '),
    ("architecture: mipsel\nlibc: musl", "architecture: powerpc\nlibc: glibc", '3: libc: found "glibc"; expected musl'),
    ("architecture", "made_by: fixtures/virt\narchitecture", '2: made_by: found "fixtures/virt"; expected a dotted'),
    ("timeout: 30", "timeout: -30", "10: bootloader.timeout: found the number -30; expected 1 to 3600 seconds"),
    ("timeout: 30", "timeout: .nan", "10: bootloader.timeout: found the number nan; expected a finite number"),
    ("timeout: 30", f"timeout: 1{'0' * 400}", '10: bootloader.timeout: found "1000'),
    ("timeout: 30", "timeout: 30 s", '10: bootloader.timeout: found "30 s"; expected a number'),
    ("timeout: 30", "timeout: true", "10: bootloader.timeout: found true; expected a number"),
    ("timeout: 30", "timeout: !!int many", "10: found the tag tag:yaml.org,2002:int; expected a value without a tag"),
    ("timeout: 30", "timeout: !often 30", "10: found the tag !often; expected a value without a tag"),
    ('send: " "', 'send: ""', '9: bootloader.interrupt.send: found ""; expected at least one character'),
    ('prompt: "=> "', 'prompt: ""', '6: bootloader.prompt: found ""; expected text that is not empty'),
    ("[tftpboot, booti]", "tftpboot", '12: boot.tftp: found "tftpboot"; expected a list'),
    ("[tftpboot, booti]", "[]", "12: boot.tftp: found an empty list; expected at least one command"),
    (
        "[tftpboot, booti]",
        "\n    - tftpboot\n    - 5",
        "14: boot.tftp[1]: found the number 5; expected text (write it ",
    ),
    ("  tftp: [tftpboot, booti]", "  1: [booti]", "12: boot.1: found the number 1 as a key; expected text"),
    (
        "boot:\n  tftp: [tftpboot, booti]",
        "boot: {}",
        "11: boot: found an empty mapping; expected at least one boot method",
    ),
    ("boot:\n  tftp: [tftpboot, booti]", "boot:", "11: boot: found nothing; expected a mapping"),
    (
        '"1", CIPHERS',
        "1, CIPHERS",
        "16: openssl.settings.USE_SOFTDRIVERS: found the number 1; expected text (write it in",
    ),
    ("device: /dev/crypto", "device: crypto", '17: cryptodev.device: found "crypto"; expected a path on the board'),
    (
        "cryptodev: {module",
        "cryptodev: {1: 2, module",
        "17: cryptodev.1: unknown key; known here: module, device, users",
    ),
    (
        "  SHA256",
        "  sha256",
        '20: algorithms.sha256: found "sha256" as a key; expected OpenSSL\'s name in its own capitals',
    ),
    ("{kernel: sha256}", "sha256", '20: algorithms.SHA256: found "sha256"; expected a mapping with the keys kernel,'),
    (
        "{kernel: sha256}",
        "{kernel: sha256, offloaded_from: 1536}",
        "20: algorithms.SHA256: found offloaded_from and no driver; expected both, or a driver alone",
    ),
    (
        "'{device}$'",
        "'{device}('",
        '24: witnesses[0].match: found "{device}("; expected a regular expression that RE2 supports: missing )',
    ),
    (
        "'{device}$'",
        "'({device})\\1'",
        '24: witnesses[0].match: found "({device})\\1"; expected a regular expression that RE2 supports: inv',
    ),
    (
        "'{device}$'",
        "'(?={device})'",
        '24: witnesses[0].match: found "(?={device})"; expected a regular expression that RE2 supports: inv',
    ),
    ("'{device}$'", "jr", "22: witnesses[0]: found device and no {device} in match; expected both or none"),
    ("    device: /sys/bus/platform/devices/*.jr\n", "", "22: witnesses[0]: found {device} in match and no device;"),
    (
        "per_operation: 0.5",
        "per_operation: 0",
        "26: witnesses[0].per_operation: found the number 0; expected 0.001 to 1e+09",
    ),
    ("per_operation: 0.5", "path: /x", "26: witnesses[0].path: unknown key; known here: kind, name, match, device,"),
    ("kind: counter", "kind: gauge", '27: witnesses[1].kind: found "gauge"; expected interrupts or counter'),
    ("kind: counter, ", "", "27: witnesses[1].kind: missing; expected interrupts or counter"),
    (
        "name: dequeued",
        "name: job rings",
        "27: witnesses[1]: found the name job rings again, as in [0]; expected it once",
    ),
    (
        GOOD[GOOD.index("  - kind: int") : GOOD.index("throughput")],
        "  []\n",
        "21: witnesses: found an empty list; expected at",
    ),
    ("processes: 1", "processes: 0", "30: throughput[0].processes: found the number 0; expected 1 to 256"),
    ("processes: 1", "processes: 1.5", "30: throughput[0].processes: found the number 1.5; expected a whole number"),
    (
        "      16: {floor: 1.0e+5",
        "      0: {floor: 1.0e+5",
        "32: throughput[0].bounds.0: found the number 0 as a key; expected",
    ),
    ("      16:", "      '16':", '32: throughput[0].bounds.16: found "16" as a key; expected a whole number'),
    (
        "floor: 1.0e+5",
        "floor: 5.0e+7",
        "32: throughput[0].bounds.16: found a floor of 5e+07 above a ceiling of 4e+07; exp",
    ),
    ("floor: 1.0e+5, ", "", "32: throughput[0].bounds.16.floor: missing; expected a number"),
    ("floor: 1.0e+5", "floor: -1", "32: throughput[0].bounds.16.floor: found the number -1; expected 0 to 1e+12 bytes"),
    ("    calibrated", "    uncalibrate", "34: throughput[0].uncalibrate: unknown key; known here: algorithm,"),
    (
        "    calibrated: today, on this unit\n",
        "",
        "29: throughput[0]: found neither calibrated nor uncalibrated; expected one of them: `calibrated: ` when, on",
    ),
    (
        "    calibrated: today",
        "    uncalibrated: a guess\n    calibrated: today",
        "29: throughput[0]: found both calibrated and uncalibrated; expected one of them",
    ),
    ("calibrated: today, on this unit", "calibrated: ''", '34: throughput[0].calibrated: found ""; expected text that'),
    ("calibrated: today, on this unit", "calibrated: true", "34: throughput[0].calibrated: found true; expected text"),
    ("at: u-boot", "at: grub", '37: flash.nor.at: found "grub"; expected u-boot or linux'),
    ("    read_back: [sf read, crc32]\n", "", "36: flash.nor.read_back: missing; expected a list"),
    ("    boot: [sf read, booti]\n", "", "36: flash.nor.boot: missing; expected a list"),
    ("  nor:\n", "  tftp:\n", "36: flash.tftp: found under boot too; expected another name"),
    ("at: u-boot", "at: u-boot\n    restarts: true", "36: flash.nor: found at: u-boot with restarts: true; expected"),
    ("[sf read, crc32]", "[]", "40: flash.nor.read_back: found an empty list; expected at least one command"),
    (
        "  timeout: 30",
        "  timeout: 30\n  timeout: 31",
        "11: bootloader.timeout: duplicate key, first in line 10; expected",
    ),
    ("cryptodev: {", "cryptodev: {<<: {module: a}, ", "17: cryptodev: found `<<`; expected the keys themselves"),
    ("cryptodev: {", "cryptodev: {true: 1, ", "17: cryptodev: found `true` as a key; expected text or a whole number"),
    ("[tftpboot, booti]", "&a [*a]", "12: found the anchor &a; expected a value without an anchor"),
]


@pytest.mark.parametrize(
    ("good", "bad", "message"), INVALID_VALUES, ids=[message.split(";")[0] for _, _, message in INVALID_VALUES]
)
def test_error_is_reported_with_its_line(folder: Path, good: str, bad: str, message: str) -> None:
    assert GOOD.count(good) == 1
    lines = errors_in(GOOD.replace(good, bad), folder)
    assert [line for line in lines if line.startswith(f"boards/bad.yaml:{message}")], lines


NOT_A_MAPPING = [
    ("a: [1\nb: 2\n", "2: not YAML: while parsing a flow sequence: expected ',' or ']'"),
    ("a: 1\n\tb: 2\n", "2: not YAML: while scanning for the next token: found character '\\t'"),
    ("a: 1\n---\nb: 2\n", "2: not YAML: expected a single document in the stream"),
    ("a: 1\nb: \x07\n", "2: not YAML: found the control character U+0007; expected printable text"),
    ("a: *b\n", "1: found an alias; expected the value itself"),
    ("[" * 5000, "1: "),
    ("", "1: found an empty file; expected a mapping"),
    ("# nothing\n- a\n", "2: found a list; expected a mapping"),
    ("just text\n", "1: found a single value; expected a mapping"),
]


@pytest.mark.parametrize(("text", "message"), NOT_A_MAPPING)
def test_file_without_a_yaml_mapping_is_reported_with_its_line(folder: Path, text: str, message: str) -> None:
    assert errors_in(text, folder)[0].startswith(f"boards/bad.yaml:{message}")


def test_file_that_is_not_text_is_an_error(folder: Path) -> None:
    (folder / "bad.yaml").write_bytes(b"a: 1\nb: \xff\n")
    assert errors_of("bad", folder) == ["boards/bad.yaml:2: found byte 0xff; expected UTF-8 text"]


def test_folder_in_place_of_a_file_is_an_error(folder: Path) -> None:
    (folder / "bad.yaml").mkdir()
    assert errors_of("bad", folder) == ["boards/bad.yaml: cannot be read: Is a directory"]


def test_all_errors_are_reported_at_once_sorted_by_line(folder: Path) -> None:
    text = GOOD.replace("libc: musl", "libc: 5").replace("engine:", "enginee:").replace("processes: 1", "processes: -1")
    text = text.replace("  timeout: 30", "  timeout: 30\n  timeout: 31").replace(
        "16: {floor: 1.0e", "16: {floor: 9.0e+"
    )
    lines = [int(line.split(":")[1]) for line in errors_in(text, folder)]
    assert lines == [3, 11, 15, 16, 31, 33]


def test_file_outside_the_working_directory_is_named_by_its_full_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad.yaml").write_text(GOOD.replace("libc: musl", "libc: 5"))
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert errors_of("bad", folder)[0].startswith(f"{folder}/bad.yaml:3: libc: ")


def test_unknown_board_lists_the_known(folder: Path) -> None:
    (folder / "other.yaml").write_text(GOOD)
    assert errors_of("godo", folder) == ['no board "godo" in boards; there are: good, other; did you mean good?']
    assert errors_of("quite/different", folder) == ['no board "quite/different" in boards; there are: good, other']


def test_file_name_that_is_no_valid_board_name_is_refused(folder: Path) -> None:
    (folder / "my board.yaml").write_text(GOOD)
    assert errors_of("boards/my board.yaml", folder)[0].startswith(
        "boards/my board.yaml: the file name is the name of the board; expected "
    )


def test_private_file_is_read_by_its_path_and_extends_by_name(folder: Path) -> None:
    (folder.parent / "private.yaml").write_text("extends: good\ndescription: mine\n")
    assert load_board("private.yaml", folder).description == "mine"
    message = errors_of("privat.yaml", folder)
    assert message == ["privat.yaml: no such board file; there are: private; did you mean private?"]


def test_extends_merges_mappings_and_replaces_the_rest(folder: Path) -> None:
    (folder / "child.yaml").write_text(
        "extends: good\n"
        "bootloader: {timeout: 99}\n"
        "algorithms:\n  SHA256: null\n  AES-128-CBC: {driver: null}\n  SHA1: {kernel: sha1}\n"
        "witnesses: []\n"
        "boot: {tftp: [one]}\n"
    )
    good, child = load_board("good", folder), load_board("child", folder)
    assert child.name == "child"
    assert child.bootloader == good.bootloader.model_copy(update={"timeout": 99.0})
    assert list(child.algorithms) == ["AES-128-CBC", "SHA1"]
    assert child.algorithms["AES-128-CBC"].driver is None
    assert child.witnesses == ()
    assert child.boot == {"tftp": ("one",)}
    assert child.throughput == good.throughput


OTHER = (
    GOOD.replace("kind: u-boot", "kind: u-boot\n  # other").replace("timeout: 30", "timeout: 31")
    + "made_by: fixtures.virt\nlayers: [engine]\n"
)
"""A board file of which another takes sections."""


def test_sections_of_another_board_replace_those_of_the_extended_one(folder: Path) -> None:
    """As a whole: boot methods of the extended board do not stay. Other keys come from the extended board."""
    (folder / "other.yaml").write_text(OTHER.replace("tftp: [tftpboot, booti]", "disk: [load, booti]"))
    (folder / "child.yaml").write_text(
        "extends: good\nsections_from: {board: other, keys: [made_by, bootloader, boot]}\nbootloader: {prompt: '> '}\n"
    )
    good, other, child = (load_board(name, folder) for name in ("good", "other", "child"))
    assert child.boot == other.boot == {"disk": ("load", "booti")}
    assert child.bootloader == other.bootloader.model_copy(update={"prompt": "> "})
    assert (child.made_by, child.layers) == ("fixtures.virt", good.layers)
    assert child.algorithms == good.algorithms


def test_sections_are_taken_without_a_board_to_extend(folder: Path) -> None:
    keys = "[description, architecture, libc, bootloader, boot, linux, openssl, cryptodev, algorithms, witnesses]"
    (folder / "child.yaml").write_text(f"sections_from: {{board: good, keys: {keys}}}\nthroughput: []\n")
    assert load_board("child", folder).flash == {}


def test_sections_from_holds_for_its_own_file_only(folder: Path) -> None:
    (folder / "other.yaml").write_text(OTHER)
    (folder / "child.yaml").write_text("extends: good\nsections_from: {board: other, keys: [bootloader]}\n")
    (folder / "grandchild.yaml").write_text("extends: child\nbootloader: {timeout: 5}\n")
    board = load_board("grandchild", folder)
    assert (board.sections_from, board.bootloader.timeout) == (None, 5)
    (folder / "reader.yaml").write_text("extends: good\nsections_from: {board: child, keys: [bootloader]}\n")
    assert load_board("reader", folder).bootloader.timeout == 31


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ("{board: none, keys: [boot]}", '3: sections_from.board: no board "none" in boards; there are: bad, good'),
        ("{board: bad, keys: [boot]}", "3: sections_from.board: found a cycle, bad -> bad; expected a chain that ends"),
        (
            "{board: good, keys: [boot, botloader]}",
            '3: sections_from.keys[1]: found "botloader"; good has no such key,',
        ),
        ("{board: good, keys: [extends]}", '3: sections_from.keys[0]: found "extends"; good has no such key, but desc'),
        ("{board: good, keys: []}", "3: sections_from.keys: found an empty list; expected at least one key"),
        ("{board: good}", "3: sections_from.keys: missing; expected a list"),
        ("{board: good, keys: boot}", '3: sections_from.keys: found "boot"; expected a list'),
        ("{board: [good], keys: [boot]}", "3: sections_from.board: found a list; expected text"),
        ("good", '3: sections_from: found "good"; expected'),
        (
            "{board: good, keys: [" + "boot, " * 33 + "]}",
            f"3: sections_from.keys: found a list; expected at most {limits.MAX_SECTIONS} keys",
        ),
    ],
)
def test_invalid_sections_are_an_error(folder: Path, sections: str, message: str) -> None:
    text = f"# a comment\nextends: good\nsections_from: {sections}\n"
    assert any(line.startswith(f"boards/bad.yaml:{message}") for line in errors_in(text, folder)), errors_in(
        text, folder
    )


def test_chain_of_three_is_merged_from_the_base_up(folder: Path) -> None:
    (folder / "b.yaml").write_text("extends: good\nlinux: {user: admin}\nalgorithms: {SHA256: null}\n")
    (folder / "c.yaml").write_text("extends: b\nlinux: {timeout: 7}\nalgorithms: {SHA256: {kernel: other}}\n")
    board = load_board("c", folder)
    assert (board.linux.user, board.linux.timeout, board.linux.login) == ("admin", 7.0, "login: ")
    assert (board.extends, board.algorithms["SHA256"].kernel) == ("b", "other")


def test_errors_after_a_merge_name_the_file_of_the_value(folder: Path) -> None:
    (folder / "base.yaml").write_text(GOOD.replace("timeout: 120", "timeout: -120"))
    (folder / "child.yaml").write_text("extends: base\n\nopenssl:\n  settings:\n    CIPHERS: 5\nlinux:\n  user: a b\n")
    assert errors_of("child", folder) == [
        "boards/base.yaml:13: linux.timeout: found the number -120; expected 1 to 3600 seconds",
        "boards/child.yaml:5: openssl.settings.CIPHERS: found the number 5; expected text (write it in quotes)",
        'boards/child.yaml:7: linux.user: found "a b"; expected a login name of letters, digits, . - and _, 32 at most',
    ]


def test_required_key_removed_by_null_is_reported_at_its_changed_mapping(folder: Path) -> None:
    (folder / "child.yaml").write_text("extends: good\nopenssl:\n  engine: null\n")
    assert errors_of("child", folder) == ["boards/child.yaml:2: openssl.engine: missing; expected text"]


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("goood", 'boards/bad.yaml:2: extends: no board "goood" in boards; there are: bad, good; did you mean good?'),
        ("[good]", "boards/bad.yaml:2: extends: found a list; expected text"),
        ("bad", "boards/bad.yaml:2: extends: found a cycle, bad -> bad; expected a chain that ends"),
        ("../none.yaml", "boards/bad.yaml:2: extends: boards/../none.yaml: no such board file; there are: none"),
    ],
)
def test_invalid_extends_is_an_error(folder: Path, extends: str, message: str) -> None:
    assert message in errors_in(f"# a comment\nextends: {extends}\n", folder)


def test_cycle_of_two_files_is_an_error(folder: Path) -> None:
    (folder / "a.yaml").write_text("extends: b\n")
    (folder / "b.yaml").write_text("extends: a\n")
    assert errors_of("a", folder) == [
        "boards/b.yaml:1: extends: found a cycle, a -> b -> a; expected a chain that ends"
    ]


def test_null_for_an_unknown_key_is_an_error(folder: Path) -> None:
    (folder / "child.yaml").write_text("extends: good\nopenssl:\n  enginee: null\n")
    message = errors_of("child", folder)
    assert message == ["boards/child.yaml:3: openssl.enginee: unknown key; known here: engine, settings, environment"]
