"""Ice that gathers above the snow line and flows down valleys: a shallow-ice model on a coarse grid.

What satellites measure of it follows from the same laws: how fast it moves, and how it thins where it melts
faster than it is replaced.

Flux `q = 2 A (rho g)^n / (n + 2) H^(n + 2) |grad s|^(n - 1) grad s` with Glen's n = 3 (Cuffey and Paterson
2010, ch. 8). Thickness is taken upstream at cell faces, so that ice cannot leave cells that have none
(Jarosch et al. 2013).
"""

import numpy as np

from glacierseg.synthetic.noise import FloatArray, blur, ramp

# 2 A (rho g)^3 / 5 with A = 2.4e-24 Pa^-3 s^-1, in m^-3 per year.
_FLOW_PER_M3_YEAR = 2.15e-5
# The diffusivity is capped, for the stable step falls with it; where the cap binds, ice is a little thick.
_MOST_DIFFUSIVE_M2_YEAR = 12_000.0
# Diffusivity times step by squared cell size: an explicit step is stable below a quarter.
_STABLE = 0.22
# The slope changes slowly: it is measured again after so many steps.
_REFRESH_STEPS = 8
_BALANCE_PER_YEAR = 0.0035
_MOST_GAIN_M_YEAR = 0.7
_MOST_LOSS_M_YEAR = 5.0
# Share of the yearly balance that flow does not make up for: these glaciers are out of balance, as most are.
_UNREPLACED_LOSS, _UNREPLACED_GAIN = 0.45, 0.1
# Thickness of debris that lets through 1/e of the melt: half a metre leaves a fifth (after Østrem 1959).
_INSULATION_M = 0.3


def _slope(surface: FloatArray, pixel_size_m: float) -> FloatArray:
    """Returns the tangent of the slope."""
    rows, columns = np.gradient(surface, pixel_size_m)
    return np.asarray(np.hypot(rows, columns), dtype=np.float32)


def _face_flux(drop_m: FloatArray, ice: tuple[FloatArray, FloatArray], ease: FloatArray) -> FloatArray:
    """Returns how many metres of ice cross a face in one step, from the first side to the second.

    Args:
        drop_m: How far the surface falls from the first side to the second.
        ice: Thickness on either side.
        ease: Conductance of a face per thickness to the fifth, a step's length and the cell's size included.
    """
    upstream = np.where(drop_m > 0, *ice)
    square = upstream * upstream
    return np.asarray(
        np.minimum(square * square * upstream * ease, np.float32(_STABLE)) * drop_m, dtype=np.float32
    )


def _balance(surface: FloatArray, slope: FloatArray, snow_line_m: FloatArray) -> FloatArray:
    """Returns what a year of snow and melt brings, in metres of ice.

    Snow does not stay on walls: it slides down, and gentle ground among walls gets more.
    """
    balance = np.clip(_BALANCE_PER_YEAR * (surface - snow_line_m), -_MOST_LOSS_M_YEAR, _MOST_GAIN_M_YEAR)
    gentle = ramp(slope, 0.75, 0.4)
    avalanches = 1 + 2.5 * blur(1 - gentle, 3.0)
    balance = np.where(balance > 0, balance * gentle * avalanches, balance)
    return np.asarray(balance - 2.0 * ramp(slope, 0.6, 0.9), dtype=np.float32)


def flow_ice(
    bed: FloatArray, thickness: FloatArray, snow_line_m: FloatArray, pixel_size_m: float, years: float
) -> FloatArray:
    """Lets snow fall and melt and ice flow for some years.

    Args:
        bed: `(H, W)` in metres.
        thickness: Of the ice at the start, in metres.
        snow_line_m: Height of zero yearly balance, place by place.
        pixel_size_m: Edge of a cell.
        years: How long.

    Returns:
        The thickness at the end.
    """
    step = _STABLE * pixel_size_m**2 / _MOST_DIFFUSIVE_M2_YEAR
    ice = thickness.copy()
    for number in range(int(years / step)):
        surface = bed + ice
        if number % _REFRESH_STEPS == 0:
            slope = _slope(surface, pixel_size_m)
            gain = np.float32(step) * _balance(surface, slope, snow_line_m)
            ease = np.float32(_FLOW_PER_M3_YEAR * step / pixel_size_m**2) * slope**2
            ease_south = np.asarray((ease[:-1] + ease[1:]) / 2, dtype=np.float32)
            ease_east = np.asarray((ease[:, :-1] + ease[:, 1:]) / 2, dtype=np.float32)
        south = _face_flux(surface[:-1] - surface[1:], (ice[:-1], ice[1:]), ease_south)
        east = _face_flux(surface[:, :-1] - surface[:, 1:], (ice[:, :-1], ice[:, 1:]), ease_east)
        ice += gain
        ice[:-1] -= south
        ice[1:] += south
        ice[:, :-1] -= east
        ice[:, 1:] += east
        np.maximum(ice, 0, out=ice)
    return ice


def ice_velocity(
    surface_m: FloatArray, ice_m: FloatArray, pixel_size_m: float
) -> tuple[FloatArray, FloatArray]:
    """Returns how fast ice moves, averaged over its depth: down and to the right, in metres a year.

    It is the flux of the model by the thickness, its cap included.

    Args:
        surface_m: `(H, W)` height of the ice.
        ice_m: Its thickness.
        pixel_size_m: Edge of a pixel.
    """
    down, right = np.gradient(surface_m, pixel_size_m)
    square = ice_m * ice_m
    diffusivity = np.float32(_FLOW_PER_M3_YEAR) * square * square * ice_m * (down**2 + right**2)
    diffusivity = np.minimum(diffusivity, np.float32(_MOST_DIFFUSIVE_M2_YEAR))
    by_slope = diffusivity / np.maximum(ice_m, np.float32(0.01))
    return np.asarray(-by_slope * down, dtype=np.float32), np.asarray(-by_slope * right, dtype=np.float32)


def elevation_change(surface_m: FloatArray, snow_line_m: FloatArray, debris_m: FloatArray) -> FloatArray:
    """Returns how fast an ice surface rises or sinks, in metres a year: most where it lies low and bare.

    Args:
        surface_m: `(H, W)` height of the ice.
        snow_line_m: Height of zero yearly balance.
        debris_m: Thickness of the debris, under which less melts.
    """
    balance = np.clip(_BALANCE_PER_YEAR * (surface_m - snow_line_m), -_MOST_LOSS_M_YEAR, _MOST_GAIN_M_YEAR)
    loss = _UNREPLACED_LOSS * np.minimum(balance, 0) * np.exp(-debris_m / _INSULATION_M)
    return np.asarray(loss + _UNREPLACED_GAIN * np.maximum(balance, 0), dtype=np.float32)
