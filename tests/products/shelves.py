"""Small products of the true layout: SAFE folders of Sentinel-2, Landsat folders, their archives."""

import json
import shutil
import tarfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

SIDE_M = 360
CORNER = (478_560.0, 3_099_000.0)
PIXEL_M = {
    **dict.fromkeys(("02", "03", "04", "08"), 10),
    **dict.fromkeys(("05", "06", "07", "8A", "11", "12", "01"), 20),
    "09": 60,
}
PHYSICAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")


def digital_numbers(band: str, side_px: int) -> NDArray[np.uint16]:
    """What an image of a band holds: no data in its first pixel, else numbers that no other band has."""
    seed = sum(map(ord, band))
    numbers = np.random.default_rng(seed).integers(1100, 9000, (side_px, side_px)).astype(np.uint16)
    numbers[0, 0] = 0
    return numbers


def write_image(
    path: Path,
    values: NDArray[Any],
    pixel_m: float,
    epsg: int = 32645,
    corner: tuple[float, float] = CORNER,
) -> Path:
    """Writes an image: JPEG 2000 without loss, or GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_jp2 = path.suffix == ".jp2"
    options = (
        {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"} if is_jp2 else {"driver": "GTiff"}
    )
    height, width = values.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            height=height,
            width=width,
            count=1,
            dtype=values.dtype,
            crs=f"EPSG:{epsg}",
            transform=from_origin(*corner, pixel_m, pixel_m),
            **options,
        ) as file:
            file.write(values, 1)
    return path


@dataclass(frozen=True)
class SafeFacts:
    """What a SAFE folder says of itself.

    Attributes:
        date: Day of the image.
        tile: Its tile.
        baseline: Processing baseline; the layout is that of 2017 before `02.07`.
        offset: `BOA_ADD_OFFSET` of all bands; None leaves the list out.
        quantification: `BOA_QUANTIFICATION_VALUE`.
        spacecraft: `A` to `D`.
        bands: Whose images there are.
        epsg: CRS of the images.
    """

    date: str = "2024-09-30"
    tile: str = "T45RVL"
    baseline: str = "05.11"
    offset: float | None = -1000
    quantification: str = "10000"
    spacecraft: str = "B"
    bands: Sequence[str] = ("02", "03", "04", "08", "05", "8A", "11", "12", "09")
    epsg: int = 32645

    @property
    def is_old(self) -> bool:
        """Whether the layout is that of 2017."""
        return self.baseline < "02.07"

    @property
    def time(self) -> str:
        """Start of the datatake as names have it."""
        return self.date.replace("-", "") + "T045659"

    @property
    def name(self) -> str:
        """The product's name."""
        baseline = self.baseline.replace(".", "")
        day = self.date.replace("-", "")
        return f"S2{self.spacecraft}_MSIL2A_{self.time}_N{baseline}_R119_{self.tile}_{day}T083000"

    @property
    def granule(self) -> str:
        """Folder of the tile's images."""
        return f"GRANULE/L2A_{self.tile}_A039520_{self.date.replace('-', '')}T050802"

    def image(self, band: str, pixel_m: int) -> str:
        """Path of an image within the folder; `band` is `B02` or `SCL`."""
        prefix = "L2A_" if self.is_old else ""
        folder = "" if self.is_old and band == "SCL" else f"R{pixel_m}m/"
        return f"{self.granule}/IMG_DATA/{folder}{prefix}{self.tile}_{self.time}_{band}_{pixel_m}m.jp2"


def make_safe(folder: Path, facts: SafeFacts | None = None) -> Path:
    """Makes a product's folder in another one, and returns it."""
    facts = facts or SafeFacts()
    safe = folder / f"{facts.name}.SAFE"
    listed = []
    for band in facts.bands:
        for pixel_m in (10, 20, 60):
            # Each band is delivered at its own resolution and at the coarser ones.
            if pixel_m >= PIXEL_M[band]:
                file = facts.image(f"B{band}", pixel_m)
                write_image(
                    safe / file, digital_numbers(f"{band}{pixel_m}", SIDE_M // pixel_m), pixel_m, facts.epsg
                )
                listed.append(file.removesuffix(".jp2"))
    classes = np.full((SIDE_M // 20, SIDE_M // 20), 5, np.uint8)
    classes[0, 0] = 0
    listed.append(facts.image("SCL", 20).removesuffix(".jp2"))
    write_image(safe / facts.image("SCL", 20), classes, 20, facts.epsg)
    (safe / "MTD_MSIL2A.xml").write_text(_metadata(facts, listed))
    (safe / "manifest.safe").write_text("<XFDU/>")
    (safe / facts.granule / "MTD_TL.xml").write_text("<Level-2A_Tile_ID/>")
    return safe


def _granule_identifier(facts: SafeFacts) -> str:
    return f"S2{facts.spacecraft}_OPER_MSI_L2A_TL_2BPS_A039520_{facts.tile}_N{facts.baseline}"


def _metadata(facts: SafeFacts, listed: Sequence[str]) -> str:
    old = "L2A_" if facts.is_old else ""
    images = "".join(f"<IMAGE_FILE>{file}</IMAGE_FILE>" for file in listed)
    if facts.is_old:
        # One granule for each resolution, all of the same tile.
        granule = f'<Granule granuleIdentifier="{_granule_identifier(facts)}">'
        images = f"</Granule></Granule_List><Granule_List>{granule}".join(
            "".join(
                f"<IMAGE_FILE_2A>{file}</IMAGE_FILE_2A>" for file in listed if file.endswith(f"_{pixel_m}m")
            )
            for pixel_m in (10, 20, 60)
        )
    special = "".join(
        f"<Special_Values><SPECIAL_VALUE_TEXT>{text}</SPECIAL_VALUE_TEXT>"
        f"<SPECIAL_VALUE_INDEX>{value}</SPECIAL_VALUE_INDEX></Special_Values>"
        for text, value in (("NODATA", 0), ("SATURATED", 65535))
    )
    offsets = (
        "".join(f'<BOA_ADD_OFFSET band_id="{i}">{facts.offset:g}</BOA_ADD_OFFSET>\n' for i in range(13))
        if facts.offset is not None
        else ""
    )
    spectral = "".join(
        f'<Spectral_Information bandId="{i}" physicalBand="{band}"/>\n' for i, band in enumerate(PHYSICAL)
    )
    uri = "PRODUCT_URI_2A" if facts.is_old else "PRODUCT_URI"
    scales = "L1C_L2A_Quantification_Values_List" if facts.is_old else "QUANTIFICATION_VALUES_LIST"
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
<n1:General_Info>
<{old}Product_Info>
<PRODUCT_START_TIME>{facts.date}T04:56:59.024Z</PRODUCT_START_TIME>
<{uri}>{facts.name}.SAFE</{uri}>
<PROCESSING_LEVEL>Level-2A{"p" if facts.is_old else ""}</PROCESSING_LEVEL>
<PROCESSING_BASELINE>{facts.baseline}</PROCESSING_BASELINE>
<Datatake><SPACECRAFT_NAME>Sentinel-2{facts.spacecraft}</SPACECRAFT_NAME></Datatake>
<{old}Product_Organisation><Granule_List>
<Granule granuleIdentifier="{_granule_identifier(facts)}">
{images}</Granule>
</Granule_List></{old}Product_Organisation>
</{old}Product_Info>
<{old}Product_Image_Characteristics>
{special}
<{scales}>
<{old}BOA_QUANTIFICATION_VALUE unit="none">{facts.quantification}</{old}BOA_QUANTIFICATION_VALUE>
<{old}AOT_QUANTIFICATION_VALUE unit="none">1000.0</{old}AOT_QUANTIFICATION_VALUE>
</{scales}>
<BOA_ADD_OFFSET_VALUES_LIST>
{offsets}</BOA_ADD_OFFSET_VALUES_LIST>
<Spectral_Information_List>
{spectral}</Spectral_Information_List>
</{old}Product_Image_Characteristics>
</n1:General_Info>
</n1:Level-2A_User_Product>
"""


@dataclass(frozen=True)
class LandsatFacts:
    """What a Landsat product says of itself.

    Attributes:
        number: Of the satellite.
        date: Day of the image.
        level: `L2SP`, or `L2SR` without temperature.
        path_row: WRS path and row.
        formats: Of the metadata.
    """

    number: int = 9
    date: str = "2023-11-15"
    level: str = "L2SP"
    path_row: str = "140041"
    formats: Sequence[str] = ("json",)

    @property
    def name(self) -> str:
        """The product's name."""
        letter = {4: "T", 5: "T", 7: "E"}.get(self.number, "C")
        day = self.date.replace("-", "")
        return f"L{letter}0{self.number}_{self.level}_{self.path_row}_{day}_20240101_02_T1"

    @property
    def reflective(self) -> tuple[str, ...]:
        """Numbers of the bands of reflected light."""
        return tuple("123457") if self.number < 8 else tuple("1234567")

    @property
    def heat(self) -> str:
        """Name of the band of heat."""
        return "ST_B6" if self.number < 8 else "ST_B10"

    @property
    def groups(self) -> dict[str, dict[str, str]]:
        """Its metadata, with those of the Level-1 product under the same keys."""
        has_heat = self.level == "L2SP"
        files = {f"FILE_NAME_BAND_{one}": f"{self.name}_SR_B{one}.TIF" for one in self.reflective}
        files |= {f"FILE_NAME_BAND_{self.heat}": f"{self.name}_{self.heat}.TIF"} if has_heat else {}
        level_1 = {f"FILE_NAME_BAND_{one}": f"L1_{self.name}_B{one}.TIF" for one in self.reflective}
        return {
            "PRODUCT_CONTENTS": {
                "LANDSAT_PRODUCT_ID": self.name,
                "PROCESSING_LEVEL": self.level,
                "COLLECTION_NUMBER": "02",
                **files,
                "FILE_NAME_QUALITY_L1_PIXEL": f"{self.name}_QA_PIXEL.TIF",
                "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION": f"{self.name}_QA_RADSAT.TIF",
            },
            "IMAGE_ATTRIBUTES": {
                "SPACECRAFT_ID": f"LANDSAT_{self.number}",
                "WRS_PATH": self.path_row[:3],
                "WRS_ROW": self.path_row[3:],
                "DATE_ACQUIRED": self.date,
            },
            "PROJECTION_ATTRIBUTES": {"MAP_PROJECTION": "UTM", "UTM_ZONE": "45"},
            "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {
                f"REFLECTANCE_{key}_BAND_{one}": value
                for key, value in (("MULT", "2.75e-05"), ("ADD", "-0.2"))
                for one in self.reflective
            },
            **(
                {
                    "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS": {
                        f"TEMPERATURE_MULT_BAND_{self.heat}": "0.00341802",
                        f"TEMPERATURE_ADD_BAND_{self.heat}": "149.0",
                    }
                }
                if has_heat
                else {}
            ),
            "LEVEL1_PROCESSING_RECORD": {"PROCESSING_LEVEL": "L1TP", **level_1},
            "LEVEL1_RADIOMETRIC_RESCALING": {
                f"REFLECTANCE_{key}_BAND_{one}": value
                for key, value in (("MULT", "2.0000E-05"), ("ADD", "-0.100000"))
                for one in self.reflective
            },
        }


def make_landsat(folder: Path, facts: LandsatFacts | None = None) -> Path:
    """Makes a product's folder in another one, and returns it."""
    facts = facts or LandsatFacts()
    product = folder / facts.name
    bands = [f"SR_B{one}" for one in facts.reflective] + ([facts.heat] if facts.level == "L2SP" else [])
    side = SIDE_M // 30
    for band in (*bands, "QA_PIXEL", "QA_RADSAT"):
        numbers = digital_numbers(band, side)
        if band.startswith("QA"):
            numbers = np.full_like(numbers, 21824 if band == "QA_PIXEL" else 0)
        write_image(product / f"{facts.name}_{band}.TIF", numbers, 30)
    for kind in facts.formats:
        (product / f"{facts.name}_MTL.{kind}").write_text(_mtl(facts.groups, kind))
    return product


def _mtl(groups: Mapping[str, Mapping[str, str]], kind: str) -> str:
    if kind == "json":
        return json.dumps({"LANDSAT_METADATA_FILE": groups}, indent=1)
    if kind == "xml":
        text = "".join(
            f"<{group}>{''.join(f'<{key}>{value}</{key}>' for key, value in values.items())}</{group}>\n"
            for group, values in groups.items()
        )
        return f'<?xml version="1.0"?>\n<LANDSAT_METADATA_FILE>\n{text}</LANDSAT_METADATA_FILE>\n'
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for group, values in groups.items():
        lines.append(f"  GROUP = {group}")
        # Words stand in quotes, numbers do not.
        lines += [
            f"    {key} = {value}" if value[0] in "-0123456789" else f'    {key} = "{value}"'
            for key, value in values.items()
        ]
        lines.append(f"  END_GROUP = {group}")
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


def make_zip(folder: Path) -> Path:
    """Packs a folder with its own name, as agencies do, and returns the zip beside it."""
    return Path(shutil.make_archive(str(folder), "zip", folder.parent, folder.name))


def make_tar(folder: Path, suffix: str = ".tar") -> Path:
    """Packs the files of a folder without its name, as the USGS does, and returns the tar beside it."""
    path = folder.with_name(folder.name + suffix)
    with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
    return path


def edit(path: Path, old: str, new: str) -> None:
    """Replaces what stands in a file of text, which must stand there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
