"""The words of made captions, as data: labels on the left, ways to say them on the right."""

from __future__ import annotations

from typing import Any

MEDIUM: dict[str, tuple[str, ...]] = {
    "photo": ("a photo", "a photo", "a portrait", "a photograph", "a portrait photo", "a close-up"),
    "portrait": ("a portrait",),
    "sketch": ("a pencil sketch", "a sketch", "a hand-drawn sketch", "a pencil drawing"),
    "sketch 1": ("a light pencil sketch", "a pencil sketch", "a line drawing", "a sketch"),
    "sketch 2": ("a pencil sketch", "a bold pencil drawing", "a hand-drawn sketch", "a sketch"),
    "sketch 3": ("a pencil sketch", "a pencil drawing", "a hand-drawn sketch", "a sketch"),
    "pencil": ("a pencil drawing", "a grey pencil drawing", "a graphite drawing"),
    "caricature": ("a caricature", "a funny caricature", "a caricature drawing"),
    "anime": ("an anime drawing", "anime", "a manga drawing", "an anime portrait"),
    "cartoon": ("a cartoon", "a cartoon drawing"),
    "flat cartoon": ("a flat cartoon", "a simple cartoon", "a flat vector cartoon"),
    "painting": ("a painting", "a painted portrait"),
    "art_painting": ("a painting",),
    "3d render": ("a glossy 3d render", "a 3d render", "a 3d emoji"),
    "avatar": ("an avatar", "a flat vector avatar", "a cartoon avatar"),
    "avatar pixelArt": ("a pixel art avatar", "pixel art"),
    "avatar lorelei": ("a black and white line art avatar", "line art"),
    "avatar notionists": ("a black and white ink avatar", "an ink avatar"),
    "avatar openPeeps": ("a line drawing avatar", "a line drawing"),
    "avatar croodles": ("a doodle avatar", "a doodle"),
}

CATEGORY: dict[str, tuple[str, ...]] = {
    "Photography": ("a photo", "an artistic photograph"),
    "Painting": ("a painting", "a painted portrait"),
    "Illustration": ("an illustration", "an illustrated portrait"),
    "Drawing": ("a drawing",),
    "Oil": ("an oil painting", "an oil portrait"),
    "Acrylic": ("an acrylic painting",),
    "Gouache": ("a gouache painting",),
    "Tempera": ("a tempera painting",),
    "Watercolor": ("a watercolor painting", "a watercolour painting", "a watercolor"),
    "Pastel": ("a pastel drawing",),
    "Charcoal": ("a charcoal drawing",),
    "Pencil": ("a pencil drawing",),
    "Chalk": ("a chalk drawing",),
    "Ink": ("an ink drawing",),
    "Engraving": ("an engraving",),
    "Aquatint": ("an aquatint",),
    "Lithography": ("a lithograph",),
    "Woodcut": ("a woodcut",),
    "Linocut": ("a linocut",),
    "Woodblock Print": ("a woodblock print",),
    "Ukiyo-e": ("an ukiyo-e woodblock print",),
    "Screen Print": ("a screen print",),
    "Print": ("a print",),
    "Poster": ("a poster",),
    "Collage": ("a collage",),
    "Sculpture": ("a sculpture",),
    "Stained Glass": ("a stained glass window",),
    "Comic": ("a comic book drawing", "a comic"),
    "Graphic Novel": ("a graphic novel drawing",),
    "Manga": ("a manga drawing",),
    "Anime": ("an anime drawing",),
    "Cartoon": ("a cartoon",),
    "Animation": ("an animation still",),
    "Children's Book": ("a children's book illustration",),
    "Concept Art": ("a concept art portrait",),
    "Game Art": ("a video game character portrait",),
    "Street Art": ("a street art portrait",),
    "3D": ("a 3d render",),
}

MANNER: frozenset[str] = frozenset(
    {
        "13th Century", "15th Century", "16th Century", "17th Century", "18th Century",
        "19th Century", "Abstract", "Art Deco", "Art Nouveau", "B&W", "Baroque", "Bauhaus",
        "Cubism", "Dada", "Expressionism", "Fantasy", "Fauvism", "Flat Style", "Futurism",
        "Glamour", "Gothic", "Horror", "Impressionism", "Mythology", "Naive Art",
        "Neoclassicism", "Op-Art", "Orientalism", "Pin-Ups", "Pointillism", "Pop-Art",
        "Post-Impressionism", "Psychedelic Art", "Realism", "Renaissance", "Rococo",
        "Romanticism", "Sci-Fi", "Superflat", "Surrealism", "Symbolism",
    }
)  # fmt: skip

BEFORE: dict[str, tuple[str, ...]] = {
    "Attractive": ("attractive", "good-looking", "beautiful"),
    "Bald": ("bald",),
    "Chubby": ("chubby", "round-faced"),
}

FEATURE: dict[str, tuple[str, ...]] = {
    "5_o_Clock_Shadow": ("stubble", "a short stubble beard"),
    "Bangs": ("bangs", "a fringe"),
    "Goatee": ("a goatee", "a goatee beard"),
    "Heavy_Makeup": ("heavy makeup", "makeup"),
    "Mustache": ("a mustache", "a moustache"),
    "Receding_Hairline": ("a receding hairline",),
    "Sideburns": ("sideburns",),
}

EXTRA: dict[str, tuple[str, ...]] = {
    "Arched_Eyebrows": ("arched eyebrows",),
    "Bags_Under_Eyes": ("bags under the eyes",),
    "Big_Lips": ("full lips", "big lips"),
    "Big_Nose": ("a big nose",),
    "Bushy_Eyebrows": ("bushy eyebrows", "thick eyebrows"),
    "Double_Chin": ("a double chin",),
    "High_Cheekbones": ("high cheekbones",),
    "Mouth_Slightly_Open": ("an open mouth", "the mouth slightly open"),
    "Narrow_Eyes": ("narrow eyes",),
    "Oval_Face": ("an oval face",),
    "Pale_Skin": ("pale skin",),
    "Pointy_Nose": ("a pointy nose",),
    "Rosy_Cheeks": ("rosy cheeks",),
}

WORN: dict[str, tuple[str, ...]] = {
    "Eyeglasses": ("glasses", "eyeglasses"),
    "Wearing_Earrings": ("earrings",),
    "Wearing_Hat": ("a hat",),
    "Wearing_Lipstick": ("lipstick", "red lipstick"),
    "Wearing_Necklace": ("a necklace",),
    "Wearing_Necktie": ("a tie", "a necktie"),
}

HAIR: dict[str, tuple[str, ...]] = {
    "Black_Hair": ("black", "dark"),
    "Blond_Hair": ("blond", "blonde", "fair"),
    "Brown_Hair": ("brown",),
    "Gray_Hair": ("gray", "grey", "white"),
}

CURL: dict[str, tuple[str, ...]] = {
    "Straight_Hair": ("straight",),
    "Wavy_Hair": ("wavy", "curly"),
}

AGE: dict[str, tuple[str, ...]] = {"young": ("young",), "older": ("older", "middle-aged")}

AGES: tuple[tuple[float, dict[str, str]], ...] = (
    (3, {"male": "baby boy", "female": "baby girl", "person": "baby"}),
    (13, {"male": "boy", "female": "girl", "person": "child"}),
    (20, {"male": "teenage boy", "female": "teenage girl", "person": "teenager"}),
    (36, {"male": "young man", "female": "young woman", "person": "young person"}),
    (60, {"male": "middle-aged man", "female": "middle-aged woman", "person": "person"}),
    (float("inf"), {"male": "old man", "female": "old woman", "person": "old person"}),
)

OTHER: dict[str, tuple[str, ...]] = {
    "beard": ("a beard",),
    "smile": ("a smile", "a big smile", "a happy expression"),
}

CELEBA: frozenset[str] = frozenset(
    {*BEFORE, *FEATURE, *EXTRA, *WORN, *HAIR, *CURL}
    | {"Blurry", "Male", "No_Beard", "Smiling", "Young"}
)

PHRASES: dict[str, Any] = {
    "medium": MEDIUM, "category": CATEGORY, "manner": MANNER, "before": BEFORE,
    "feature": FEATURE, "extra": EXTRA, "worn": WORN, "hair": HAIR, "curl": CURL, "age": AGE,
    "ages": AGES, "other": OTHER, "celeba": CELEBA,
}  # fmt: skip
