"""Installs the packages `appliance`, `proxy` and `workers`, and the command `applctl`."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = (ROOT / "appliance" / "VERSION").read_text().strip()

# An appliance is an application, so what it runs on is pinned exactly. The playwright wheel decides
# which clients are served: a client's major.minor must equal it.
RUNTIME = [
    "click==8.5.1",
    "flask-openapi3==4.3.2",
    "gevent==26.9.0",
    "gevent-websocket==0.10.1",
    "h11==0.16.0",
    "playwright==1.65.2",
    "prometheus-client==0.26.0",
    "psutil==7.2.2",
    "pydantic-settings==2.16.3",
    "python-dotenv==1.2.4",
    "redis==8.1.0",
    "rich==15.0.0",
    "structlog==26.1.0",
    "supervisor==4.3.0",
    "websocket-client==1.9.2",
]
TEST = [
    "hypothesis==6.170.15",
    "mypy==2.4.1",
    "pytest==9.2.0",
    "pytest-playwright==0.10.0",
    "pytest-timeout==2.4.0",
    "pytest-xdist==3.8.0",
    "ruff==0.17.6",
    "schemathesis==4.32.5",
    "trustme==1.2.1",
    "types-gevent==26.9.0.20261006",
    "types-psutil==7.2.2.20261111",
]

setup(
    name="playwright-appliance",
    version=VERSION,
    description="A machine that boots into a Playwright grid: one WebSocket endpoint, a pool of warm browsers",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["appliance*", "proxy*", "workers*"]),
    package_data={
        "appliance": ["VERSION", "grid/lua/*.lua", "monitoring/*", "py.typed"],
        "workers": ["preload/*.js", "mcp/*.js"],
        "proxy": ["dashboard/page/*", "dashboard/page/vendor/*"],
    },
    data_files=[("share/playwright-appliance", ["supervisord.conf"])],
    install_requires=RUNTIME,
    extras_require={"test": TEST},
    entry_points={"console_scripts": ["applctl=appliance.cli:main"]},
)
