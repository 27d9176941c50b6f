"""How high the sun stands over a place: from time and place alone, since catalogues say it in many ways."""

import math
from datetime import UTC, datetime

_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)
_DAYS_OF_CENTURY = 36525


def as_utc(time: datetime) -> datetime:
    """Returns a time in UTC, which it is in where it names no zone."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def sun_height_deg(time: datetime, longitude: float, latitude: float) -> float:
    """Returns the height of the sun over the horizon, in degrees, negative at night.

    By the equations of NOAA's solar calculator (after Meeus), without refraction, which lifts the sun by less
    than 0.1 degrees where it stands higher than 10; good to some hundredths of a degree for 1800 to 2100.

    Args:
        time: UTC where it names no zone.
        longitude: In degrees, east of Greenwich; any turn.
        latitude: In degrees.
    """
    utc = as_utc(time)
    century = (utc - _J2000).total_seconds() / 86400 / _DAYS_OF_CENTURY
    minutes = utc.hour * 60 + utc.minute + (utc.second + utc.microsecond / 1e6) / 60
    declination, ahead_min = _sun_at(century)
    # Degrees that the earth has yet to turn, or has turned, since the sun stood in the south.
    hour_angle = math.radians((minutes + ahead_min) / 4 + longitude - 180)
    place = math.radians(latitude)
    height = math.sin(place) * math.sin(declination)
    height += math.cos(place) * math.cos(declination) * math.cos(hour_angle)
    return math.degrees(math.asin(min(max(height, -1.0), 1.0)))


def _sun_at(century: float) -> tuple[float, float]:
    """Returns the declination, in radians, and by how many minutes the sun is ahead of the clock."""
    t = century
    mean_long = math.radians((280.46646 + t * (36000.76983 + t * 0.0003032)) % 360)
    anomaly = math.radians(357.52911 + t * (35999.05029 - t * 0.0001537))
    eccentricity = 0.016708634 - t * (0.000042037 + t * 0.0000001267)
    centre = (
        math.sin(anomaly) * (1.914602 - t * (0.004817 + t * 0.000014))
        + math.sin(2 * anomaly) * (0.019993 - t * 0.000101)
        + math.sin(3 * anomaly) * 0.000289
    )
    node = math.radians(125.04 - 1934.136 * t)
    apparent = mean_long + math.radians(centre - 0.00569 - 0.00478 * math.sin(node))
    seconds = 21.448 - t * (46.8150 + t * (0.00059 - t * 0.001813))
    tilt = math.radians(23 + (26 + seconds / 60) / 60 + 0.00256 * math.cos(node))
    y = math.tan(tilt / 2) ** 2
    ahead = (
        y * math.sin(2 * mean_long)
        - 2 * eccentricity * math.sin(anomaly)
        + 4 * eccentricity * y * math.sin(anomaly) * math.cos(2 * mean_long)
        - 0.5 * y**2 * math.sin(4 * mean_long)
        - 1.25 * eccentricity**2 * math.sin(2 * anomaly)
    )
    return math.asin(math.sin(tilt) * math.sin(apparent)), 4 * math.degrees(ahead)
