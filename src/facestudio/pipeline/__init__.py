"""The one place that knows all parts: photos, words and a style picture in, portraits out."""

from facestudio.pipeline.lazy_imports import make_imports_lazy

make_imports_lazy()  # if asked to, before any module of this package imports diffusers
