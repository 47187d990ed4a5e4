"""Images are copied to the TFTP folder, and the boot commands name the copied files."""

import os
import re
from pathlib import Path

import pytest

from fixtures import limits
from fixtures.boot.image import Image, substitute, tftp_subfolder
from fixtures.outcome import LabError, UsageError


def create_folder(path: Path, **files: str) -> Path:
    """Create a folder with files; `__` in a name stands for a dot."""
    path.mkdir()
    for name, content in files.items():
        (path / name.replace("__", ".")).write_text(content)
    return path


def test_files_are_named_up_to_their_first_dot(tmp_path: Path) -> None:
    release = create_folder(tmp_path / "release-1.2", kernel="k", initrd__cpio__gz="i", __DS_Store="rubbish")
    (release / "notes").mkdir()
    image = Image.from_folder(release)
    assert image.name == "release-1.2"
    assert image.files == {"kernel": release / "kernel", "initrd": release / "initrd.cpio.gz"}


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    release = create_folder(tmp_path / "release", kernel__img="a", kernel__bin="b")
    with pytest.raises(UsageError, match=r"kernel\.bin and kernel\.img are both 'kernel'; keep one"):
        Image.from_folder(release)


def test_missing_and_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"--image {tmp_path}/none: no such folder"):
        Image.from_folder(tmp_path / "none")
    with pytest.raises(UsageError, match="no file in it"):
        Image.from_folder(create_folder(tmp_path / "empty", __hidden=""))


def test_copy_to_tftp_overwrites_an_older_image(tmp_path: Path) -> None:
    tftp = tmp_path / "tftp"
    tftp.mkdir()
    Image.from_folder(create_folder(tmp_path / "old", kernel="a longer old kernel")).copy_to_tftp(tftp, "lab-1")
    names = Image.from_folder(create_folder(tmp_path / "new", kernel="new", dtb="d")).copy_to_tftp(tftp, "lab-1")
    assert names == {"kernel": "hil-lab-1/kernel", "dtb": "hil-lab-1/dtb"}
    assert {name: (tftp / path).read_text() for name, path in names.items()} == {"kernel": "new", "dtb": "d"}


def test_units_do_not_overwrite_each_other(tmp_path: Path) -> None:
    image = Image.from_folder(create_folder(tmp_path / "image", kernel="k"))
    (tmp_path / "tftp").mkdir()
    assert image.copy_to_tftp(tmp_path / "tftp", "1") != image.copy_to_tftp(tmp_path / "tftp", "2")


def test_unwritable_tftp_folder_is_a_lab_error(tmp_path: Path) -> None:
    image = Image.from_folder(create_folder(tmp_path / "image", kernel="k"))
    with pytest.raises(LabError, match=r"the image cannot be copied into the TFTP folder .*No such file"):
        image.copy_to_tftp(tmp_path / "none", "1")
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match=r"the image cannot be copied into the TFTP folder .*Not a directory"):
        image.copy_to_tftp(tmp_path / "file", "1")


def test_placeholders_are_replaced_and_bootloader_variables_kept() -> None:
    values = {"server": "10.0.2.2", "kernel": "hil-0/kernel"}
    assert substitute("tftpboot ${kernel_addr_r} {server}:{kernel}", values) == (
        "tftpboot ${kernel_addr_r} 10.0.2.2:hil-0/kernel"
    )
    assert substitute("booti ${kernel_addr_r} ${kernel}", values) == "booti ${kernel_addr_r} ${kernel}"


def test_placeholder_may_have_a_dash() -> None:
    assert substitute("tftpboot {u-boot} {u-boot_size}", {"u-boot": "hil-0/u-boot", "u-boot_size": "a0"}) == (
        "tftpboot hil-0/u-boot a0"
    )


def test_unknown_placeholder_is_refused_and_known_ones_are_listed() -> None:
    expected = "boot command 'tftpboot {dtb}': unknown placeholder {dtb}; known are {kernel}, {server}"
    with pytest.raises(UsageError, match=re.escape(expected)):
        substitute("tftpboot {dtb}", {"server": "x", "kernel": "y"})


def test_folder_of_too_many_files_is_refused(tmp_path: Path) -> None:
    for number in range(limits.MAX_IMAGE_FILES):
        (tmp_path / f"f{number}").touch()
    assert len(Image.from_folder(tmp_path).files) == limits.MAX_IMAGE_FILES
    (tmp_path / "more").touch()
    message = (
        rf"^--image {tmp_path}: found {limits.MAX_IMAGE_FILES + 1} files; expected at most {limits.MAX_IMAGE_FILES}$"
    )
    with pytest.raises(UsageError, match=message):
        Image.from_folder(tmp_path)


@pytest.mark.parametrize("kind", ["named pipe", "device", "large"])
def test_file_that_cannot_be_an_images_is_refused(tmp_path: Path, kind: str) -> None:
    kernel = create_folder(tmp_path / "release", dtb="d") / "kernel.img"
    match kind:
        case "named pipe":
            os.mkfifo(kernel)
        case "device":
            kernel.symlink_to("/dev/zero")
        case "large":
            kernel.touch()
            os.truncate(kernel, limits.MAX_IMAGE_FILE_SIZE + 1)
    with pytest.raises(UsageError, match=r"^--image .*/release: found kernel\.img; expected a regular file of at most"):
        Image.from_folder(tmp_path / "release")


def test_link_in_the_tftp_folder_is_not_followed(tmp_path: Path) -> None:
    """Another user who may write to the folder cannot have a file of this user overwritten."""
    image = Image.from_folder(create_folder(tmp_path / "image", kernel="k"))
    precious = tmp_path / "precious"
    precious.write_text("p")
    target = tmp_path / tftp_subfolder("lab-1")
    target.mkdir()
    (target / "kernel").symlink_to(precious)
    image.copy_to_tftp(tmp_path, "lab-1")
    assert precious.read_text() == "p"
    assert not (target / "kernel").is_symlink()
    assert (target / "kernel").read_text() == "k"


def test_link_in_place_of_the_subfolder_is_a_lab_error(tmp_path: Path) -> None:
    image = Image.from_folder(create_folder(tmp_path / "image", kernel="k"))
    precious = create_folder(tmp_path / "precious", kernel="p")
    (tmp_path / tftp_subfolder("lab-1")).symlink_to(precious)
    with pytest.raises(LabError, match=r"hil-lab-1 is a link; expected a folder\. Remove the link$"):
        image.copy_to_tftp(tmp_path, "lab-1")
    assert (precious / "kernel").read_text() == "p"
