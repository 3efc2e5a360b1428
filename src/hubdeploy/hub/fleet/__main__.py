"""``python -m hubdeploy.hub.fleet``."""

from __future__ import annotations

import sys

from hubdeploy.errors import HubdeployError
from hubdeploy.hub.fleet.service import run

if __name__ == "__main__":
    try:
        run()
    except HubdeployError as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n")
        sys.exit(error.exit_code)
