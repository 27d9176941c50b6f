"""From a place and days to products, and to a scene: searched, looked at, chosen, and read no further than needed."""

import logging
import math
import shutil
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from glacierseg import log
from glacierseg.catalogues.candidate import Candidate
from glacierseg.catalogues.choice import Chosen, choose, write_choices
from glacierseg.catalogues.delivery import ProductPlan, plan_product, write_product
from glacierseg.catalogues.elevation import ElevationPlan, plan_elevation, write_elevation
from glacierseg.catalogues.place import Place, place_of_box
from glacierseg.catalogues.provenance import Provenance, Request
from glacierseg.catalogues.rating import Seen, look
from glacierseg.catalogues.search import Offered, elevation_tiles, search
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import Window, plan_window, read_window
from glacierseg.errors import BandError, GlaciersegWarning, ProductError, RequestError
from glacierseg.products.classes import classify
from glacierseg.products.kept import KeptScene, keep_scene
from glacierseg.products.place import inside
from glacierseg.products.read import read_product
from glacierseg.raster.bounds import middle_of_shapes, utm_at
from glacierseg.raster.grid import Grid
from glacierseg.raster.indices import INDICES
from glacierseg.raster.outlines import read_shapes
from glacierseg.raster.outputs import writes
from glacierseg.raster.prepare.layers import names_given
from glacierseg.raster.prepare.recipes import parse_recipe
from glacierseg.raster.sensors import ROLES, SENSORS
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.fetch import FetchSettings
from glacierseg.settings.prepare import ProductInputs, ProductSettings
