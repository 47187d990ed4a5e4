"""pytest plugin: the gate waits 1 s, not 30 s, for an SSH server that answered before."""

from fixtures.gate import leased_unit

leased_unit.SSH_TIMEOUT = 1.0
