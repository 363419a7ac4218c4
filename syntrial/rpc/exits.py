"""Exit statuses of a stage's job, which the controller reads from its pod."""

from typing import Final

DONE: Final = 0
FAILED: Final = 1
USER_ERROR: Final = 2
"""Where its only errors are the user's."""
LEFT: Final = 3
"""Of a pod that lent its devices to another, which has ended otherwise than done: that one's end says why."""
STOPPED: Final = 143
"""Of a job that was asked to stop before it was done, as of a process that SIGTERM ended."""
