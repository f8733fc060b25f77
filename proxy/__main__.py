"""`python -m proxy`: the proxy process, started by supervisord."""

from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402
import sys  # noqa: E402  # nothing may be imported before the patch

from appliance import config, logs  # noqa: E402
from appliance.errors import ApplianceError  # noqa: E402
from proxy.proxy import Proxy  # noqa: E402


def main() -> int:
    """Run the proxy; gives the exit code."""
    try:
        settings = config.load()
        logs.configure(settings.log_level, settings.log_format)
        proxy = Proxy(settings)
        gc.freeze()  # what is there by now stays: no collection need look at it again
        proxy.run()
    except ApplianceError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
