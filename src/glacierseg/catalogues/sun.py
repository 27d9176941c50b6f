"""How high the sun stands over a place: from time and place alone, since catalogues say it in many ways."""

from datetime import UTC, datetime
from math import asin, atan2, cos, degrees, radians, sin

_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)


def sun_height_deg(time: datetime, longitude: float, latitude: float) -> float:
    """Returns the height of the sun over the horizon, in degrees, negative at night.

    By the low-precision formulas of the Astronomical Almanac, without refraction; good to some hundredths of
    a degree from 1950 to 2050.

    Args:
        time: With its time zone.
        longitude: In degrees, east of Greenwich; any turn.
        latitude: In degrees.
    """
    days = (time - _J2000).total_seconds() / 86400
    anomaly = radians(357.528 + 0.9856003 * days)
    ecliptic = radians(280.460 + 0.9856474 * days + 1.915 * sin(anomaly) + 0.020 * sin(2 * anomaly))
    tilt = radians(23.439 - 0.0000004 * days)
    declination = asin(sin(tilt) * sin(ecliptic))
    ascension = atan2(cos(tilt) * sin(ecliptic), cos(ecliptic))
    # How far the earth has turned since the sun stood in the south.
    hour_angle = radians(280.46062 + 360.98564737 * days + longitude) - ascension
    place = radians(latitude)
    height = sin(place) * sin(declination) + cos(place) * cos(declination) * cos(hour_angle)
    return degrees(asin(min(max(height, -1.0), 1.0)))
