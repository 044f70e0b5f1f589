"""Which windows are left out when the computer is too slow for all of them.

A stream that is behind leaves its older windows out and takes the newest. Neighbouring windows
overlap, so the next one that is computed covers up to three before it: they cost time, not beats.
Each wearer is judged by its own backlog, so that a flood of one leaves the others alone, and each
has its turn, however late it is. A delay that is soon made up for (a pause of the whole computer, a
cuff reading) leaves nothing out. The rule is that of controlled delay (K. Nichols and V. Jacobson,
Controlling Queue Delay, ACM Queue 10 (2012) 20, doi 10.1145/2208917.2209336).
"""

from __future__ import annotations

from innpar.devices import NS

BEHIND = NS // 4
"""Wait of received samples for this process beyond which a wearer is behind, ns."""
PATIENCE = NS // 2
"""ns for which some wearer has to be behind before a window is left out."""
PAUSE = NS // 4
"""ns without a wearer behind that begin the patience anew."""
CALM = 2 * NS
"""ns without a wearer behind that end an overload."""
HALF_LIFE = 2 * NS
"""ns in which the memory of windows due and computed fades by half."""


class ProcessLoad:
    """The load of one process, from the backlogs of all its wearers.

    Attributes:
        overloaded: Whether windows are left out.
    """

    def __init__(self) -> None:
        self.overloaded = False
        self._since: int | None = None
        self._last = 0
        self._due = self._computed = 1.0
        self._counted = 0

    @property
    def turn(self) -> float:
        """Number of windows in a row after which a wearer has its turn: due for one computed."""
        return self._due / max(self._computed, 0.1)

    def observe(self, behind: bool, now: int) -> None:
        """Take the state of one wearer, at `now` by the host's clock, ns."""
        if behind:
            self._since = now if self._since is None else min(self._since, now)
            self._last = now
            self.overloaded |= now - self._since >= PATIENCE
        elif abs(now - self._last) > PAUSE:  # either way: the clock may be set
            self._since = None
            self.overloaded &= abs(now - self._last) <= CALM

    def count(self, computed: bool, now: int) -> None:
        """Count a window that is due."""
        kept = 0.5 ** (max(0, now - self._counted) / HALF_LIFE)
        self._counted = now
        self._due = kept * self._due + 1.0
        self._computed = kept * self._computed + computed


class Backlog:
    """The backlog of one wearer.

    Args:
        load: That of the process.

    Attributes:
        left_out: Number of windows left out so far.
    """

    def __init__(self, load: ProcessLoad) -> None:
        self._load = load
        self._behind = False
        self._in_a_row = 0
        self._now = 0
        self.left_out: int = 0

    def take(self, arrival: int, now: int) -> None:
        """Note that samples are taken.

        Args:
            arrival: When they were received, ns on the host's clock; 0 if unknown.
            now: By the same clock.
        """
        self._behind = bool(arrival) and now - arrival > BEHIND
        self._now = now
        if arrival:
            self._load.observe(self._behind, now)

    def leaves_out(self) -> bool:
        """Return whether to leave the window out that these samples complete, and count it."""
        found = self._behind and self._load.overloaded and self._in_a_row < self._load.turn
        self._in_a_row = self._in_a_row + 1 if found else 0
        self.left_out += found
        self._load.count(not found, self._now)
        return found
