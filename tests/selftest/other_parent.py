"""pytest plugin: the suite's folders on the board are made in $OTHER_PARENT, else $OTHER_PARENTS, instead of /tmp."""

import os

from fixtures.link import private_folder

private_folder.PARENT = os.environ["OTHER_PARENT"]
private_folder.OTHER_PARENTS = tuple(filter(None, [os.environ.get("OTHER_PARENTS")]))
