"""Photos to faces, faces to identities, pictures to people's regions.

Imports no torch; dlib, onnxruntime and torch are loaded by what needs them.
"""

from facestudio.faces.align import align_face, align_portrait, face_mask, hide_face
from facestudio.faces.calibration import Calibration, calibrate, unit_rms
from facestudio.faces.detect import Detector, DlibDetector, Face, find_face, find_faces
from facestudio.faces.embed import (
    DlibEncoder,
    IdentityEncoder,
    InsightFaceEncoder,
    NetworkEncoder,
    OnnxEncoder,
    encoder_id,
)
from facestudio.faces.encoder_folder import NetworkConfig, save_network
from facestudio.faces.identity import Identity, load_identity, mix_identities
from facestudio.faces.load import add_face_map, load_identity_encoder, save_identity_encoder
from facestudio.faces.mapped import MappedEncoder
from facestudio.faces.quality import Quality, judge_face
from facestudio.faces.regions import (
    Region,
    downsample_masks,
    find_regions,
    regions_to_masks,
    side_by_side,
)

__all__ = [
    "Calibration",
    "Detector",
    "DlibDetector",
    "DlibEncoder",
    "Face",
    "Identity",
    "IdentityEncoder",
    "InsightFaceEncoder",
    "MappedEncoder",
    "NetworkConfig",
    "NetworkEncoder",
    "OnnxEncoder",
    "Quality",
    "Region",
    "add_face_map",
    "align_face",
    "align_portrait",
    "calibrate",
    "downsample_masks",
    "encoder_id",
    "face_mask",
    "find_face",
    "find_faces",
    "find_regions",
    "hide_face",
    "judge_face",
    "load_identity",
    "load_identity_encoder",
    "mix_identities",
    "regions_to_masks",
    "save_identity_encoder",
    "save_network",
    "side_by_side",
    "unit_rms",
]
