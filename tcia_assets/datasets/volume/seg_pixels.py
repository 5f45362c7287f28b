"""The pixels of DICOM SEG objects, frame by frame."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ImplicitVRLittleEndian

from tcia_assets.datasets.volume.arrays import Voxels
from tcia_assets.datasets.volume.attributes import read_int
from tcia_assets.datasets.volume.decoders import decoder_of
from tcia_assets.datasets.volume.series_zip import DicomObject, SeriesZip

_MAX_REASON_LENGTH = 200


class UnreadableFrame(Exception):
    """A frame has no position, or pixels that cannot be read; the message has the reason."""


class SegPixels:
    """The pixels of an object, one frame at a time."""

    def __init__(self, series_zip: SeriesZip, dicom_object: DicomObject) -> None:
        self._series_zip, self._dicom_object = series_zip, dicom_object
        header = dicom_object.header
        self.rows, self.columns = read_int(header, "Rows", 0), read_int(header, "Columns", 0)
        syntax = UID(header.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
        is_native = syntax.is_transfer_syntax and not syntax.is_encapsulated
        is_one_bit = read_int(header, "BitsAllocated", 0) == 1
        self._is_bit_packed = is_one_bit and is_native and syntax.is_little_endian

    @cached_property
    def _dataset(self) -> Dataset:
        return self._series_zip.read_dataset(self._dicom_object)

    def read(self, index: int) -> Voxels:
        """Return a frame, [row, column].

        Raises:
            UnreadableFrame: The pixels are cut off or cannot be decoded.
            MissingExtra: They need a decoder that is not installed.
        """
        return self._unpack_bits(index) if self._is_bit_packed else self._decode(index)

    def _unpack_bits(self, index: int) -> Voxels:
        # pydicom (3.0) fails if a frame does not start at a byte: frames follow without padding.
        pixels = self._dataset.get("PixelData") or b""
        count = self.rows * self.columns
        first, end = index * count, (index + 1) * count
        if not count or end > 8 * len(pixels):
            raise UnreadableFrame("there are fewer pixels than frames")
        packed = np.frombuffer(pixels, np.uint8)[first // 8 : -(-end // 8)]
        bits = np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + count]
        return bits.reshape(self.rows, self.columns)

    def _decode(self, index: int) -> Voxels:
        decoder = decoder_of(self._dicom_object)
        try:
            image: Voxels = pixel_array(
                self._dataset, raw=True, index=index, decoding_plugin=decoder
            )
        except Exception as error:
            # Decoders raise nearly any exception on damaged pixels.
            raise UnreadableFrame(str(error)[:_MAX_REASON_LENGTH]) from error
        if image.shape != (self.rows, self.columns):
            raise UnreadableFrame(f"a frame decodes to {image.shape}")
        return image
