"""The explorer: one recording in memory, and a page for each who looks at it."""

from bokeh.document import Document

from flows.explore.opening import Opened
from flows.explore.page import Page
from flows.explore.recording import HeldRecording


class Explorer:
    """A Bokeh application: called with a document, it fills it with a page.

    So the same object is served by ``phasemill explore`` and shown in a notebook by
    ``bokeh.io.show``.
    """

    def __init__(self, opened: Opened) -> None:
        """Read the middle of the scan, and start to read the rest."""
        self.recording = HeldRecording(opened)

    def __call__(self, document: Document) -> None:
        """Fill a document with a page of its own."""
        Page(self.recording, document)
