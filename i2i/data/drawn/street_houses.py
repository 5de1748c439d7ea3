"""Houses along a drawn street: walls with windows and doors, shops, gabled and flat roofs."""

import numpy as np

from i2i.data.drawn.landscape import Colour
from i2i.data.drawn.painting import Points
from i2i.data.drawn.street_view import BUILDING, FAR, View

_WALLS: tuple[Colour, ...] = (
    (178, 110, 86), (150, 96, 78), (214, 198, 166), (196, 176, 144), (168, 164, 158), (222, 214, 202), (188, 150, 112),
    (140, 136, 134), (160, 170, 176), (204, 164, 132),
)  # fmt: skip
_ROOFS: tuple[Colour, ...] = ((128, 78, 64), (96, 84, 80), (86, 90, 98), (150, 96, 74))
_SHOPS: tuple[Colour, ...] = ((170, 44, 40), (40, 96, 72), (44, 66, 120), (206, 160, 52), (70, 66, 66))
_GLASS = (64, 74, 88)
_DEPTH = 11.0  # metres from the street to the back wall
_DETAILED = 50.0  # metres beyond which small things are left out


def line_street(rng: np.random.Generator, side: int, edge: float) -> list["House"]:
    """Houses on a side of the street, ``edge`` metres from the camera."""
    start, houses = float(rng.uniform(1, 5)), []
    floors, gap = int(rng.integers(1, 6)), rng.uniform(0, 0.55)
    while start < FAR:
        house = House(rng, side, edge + rng.uniform(0, 0.6), start, max(1, floors + int(rng.integers(-1, 2))))
        houses.append(house)
        start = house.end + (float(rng.uniform(2, 9)) if rng.random() < gap else 0.0)
    return houses


class House:
    """A house; all that varies is drawn when it is made, so that what is out of view does not change the rest."""

    def __init__(self, rng: np.random.Generator, side: int, edge: float, start: float, floors: int) -> None:
        length, storey, share, bay, tall = rng.uniform((8, 2.8, 0.35, 2.2, 0.42), (20, 3.4, 0.62, 3.6, 0.62)).tolist()
        self.side, self.x, self.start, self.end = side, side * edge, start, start + length
        self.floors, self.storey, self.height = floors, storey, floors * storey + 0.4
        self.wall = _vary(rng, _WALLS)
        self.roof = _vary(rng, _ROOFS)
        self.gabled = floors <= 3 and rng.random() < 0.75
        self.shop = _vary(rng, _SHOPS) if floors > 1 and rng.random() < 0.4 else None
        self.bays, self.share, self.tall = max(1, int(length / bay)), share, tall
        self.framed = rng.random() < 0.5
        self.bright = rng.random(floors * self.bays) < 0.25  # windows that reflect the sky

    def shadow(self, view: View, slant: float) -> Points:
        """Outline on the ground, for a sun that throws ``slant`` metres a metre of height across the street."""
        return view.floor((self.x, self.x - view.sun * slant * self.height), (self.start, self.end))

    def paint(self, view: View) -> None:
        """Paints what can be seen of it."""
        if not view.sees(self.x + self.side * _DEPTH, self.start, self.start) and not view.sees(
            self.x, self.start, self.end
        ):
            return
        self._paint_end(view)
        lit, middle = view.lit(self.side), (self.start + self.end) / 2
        if self.gabled:
            eaves, ridge, low, high = self._eaves()
            slope = view.project(
                [eaves, ridge, ridge, eaves], [low, high, high, low], [self.start, self.start, self.end, self.end]
            )
            view.canvas.fill(view.material(BUILDING, self.roof, middle, 0.08, 0.04, light=lit), [slope])
        wall = view.material(BUILDING, self.wall, middle, 0.06, 0.05, light=lit)
        view.wall(wall, self.x, (0, self.height), (self.start, self.end))
        cornice = view.material(BUILDING, self.wall, middle, light=0.8 * lit)
        view.wall(cornice, self.x, (self.height - 0.3, self.height), (self.start, self.end))
        self._paint_windows(view, lit, middle)
        self._paint_ground_floor(view, lit, middle)

    def _eaves(self) -> tuple[float, float, float, float]:
        """x of the eaves and of the ridge, and their heights."""
        return self.x - 0.3 * self.side, self.x + self.side * _DEPTH / 2, self.height - 0.15, self.height + 2.6

    def _paint_end(self, view: View) -> None:
        """The wall that faces the camera, where the next house leaves it free."""
        back, light = self.x + self.side * _DEPTH, 1 - 0.18 * view.contrast
        _, ridge, _, high = self._eaves()
        top = high if self.gabled else self.height
        end = view.project([self.x, self.x, ridge, back, back], [0, self.height, top, self.height, 0], self.start)
        view.canvas.fill(view.material(BUILDING, self.wall, self.start, 0.05, 0.04, light=light), [end])
        if self.start > _DETAILED:
            return
        pane = view.material(BUILDING, _GLASS, self.start)
        for floor in range(self.floors):
            low = self.storey * (floor + 0.32)
            for column in (1.0, 4.6, 8.2):
                left = self.x + self.side * column
                view.front(pane, (left, left + self.side * 1.4), (low, low + self.storey * self.tall), self.start)

    def _paint_windows(self, view: View, lit: float, middle: float) -> None:
        width = (self.end - self.start) / self.bays
        first = 0 if self.shop is None else 1
        floor, bay = np.divmod(np.arange(first * self.bays, self.floors * self.bays), self.bays)
        near = self.start + width * (bay + (1 - self.share) / 2)
        low = self.storey * (floor + 0.32)
        if self.framed and self.start < _DETAILED:
            frame = view.material(BUILDING, self.wall, middle, light=1.25 * lit)
            view.canvas.fill(frame, self._panes(view, near - 0.15, width * self.share + 0.3, low - 0.2, 0.4))
        panes = self._panes(view, near, width * self.share, low, 0.0)
        bright = self.bright[first * self.bays :]
        sky = [0.55 * air + 30 for air in view.air]
        for glass, shown in ((_GLASS, ~bright), (sky, bright)):
            view.canvas.fill(view.material(BUILDING, glass, middle), panes[shown])

    def _panes(self, view: View, near: Points, length: float, low: Points, more: float) -> Points:
        far, high = near + length, low + self.storey * self.tall + more
        return view.project(
            self.x, np.stack([low, high, high, low], -1), np.stack([near, near, far, far], -1)
        )  # [N, 4]

    def _paint_ground_floor(self, view: View, lit: float, middle: float) -> None:
        if self.shop is None:
            door = self.start + (self.end - self.start) * (self.bays // 2 + 0.3) / self.bays
            view.wall(view.material(BUILDING, self.roof, middle, light=0.5), self.x, (0, 2.1), (door, door + 1.2))
        else:
            window = view.material(BUILDING, _GLASS, middle, light=0.8)
            view.wall(window, self.x, (0.5, 2.3), (self.start + 0.6, self.end - 0.6))
            sign = view.material(BUILDING, self.shop, middle, light=lit)
            view.wall(sign, self.x, (2.3, 2.95), (self.start + 0.3, self.end - 0.3))


def _vary(rng: np.random.Generator, colours: tuple[Colour, ...]) -> list[float]:
    base = np.array(colours[rng.integers(len(colours))])
    varied: list[float] = (base * rng.uniform(0.85, 1.12) + rng.normal(0, 4, 3)).clip(0, 255).tolist()
    return varied
