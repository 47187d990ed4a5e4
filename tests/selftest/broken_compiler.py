"""pytest plugin: the probe does not compile on this host."""

from fixtures.probe import build

build.COMPILE_FLAGS = tuple("-fno-such-flag" for _ in build.COMPILE_FLAGS)  # type: ignore[assignment]
