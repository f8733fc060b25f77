"""`python -m workers`: one worker, as supervisord starts it."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

from workers.main import main  # noqa: E402

sys.exit(main())
