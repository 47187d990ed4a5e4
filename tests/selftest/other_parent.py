"""pytest plugin: the suite's folders on the board are made in $OTHER_PARENT instead of /tmp."""

import os

from fixtures.link import private_folder

private_folder.PARENT = os.environ["OTHER_PARENT"]
