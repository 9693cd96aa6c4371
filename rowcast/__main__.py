"""``python -m rowcast``."""

from rowcast.cli import main

main()
