"""`facestudio init`: trained parts in, a model folder that `generate` takes out."""

from facestudio.faces.load import save_identity_encoder


def save_parts(pipe, folder):
    """The parts as the trainers export them, and the TOML file that names them."""
    for name in ("unet", "guidance", "scheduler"):
        getattr(pipe, name).save_pretrained(folder / "generator" / name)
    pipe.codec.save_pretrained(folder / "codec")
    pipe.image_towers.save(folder / "towers")
    (folder / "encoder").mkdir()
    save_identity_encoder(pipe.identity_encoder, folder / "encoder")
    config = folder / "model.toml"
    config.write_text(
        'generator = "generator"\ncodec = "codec"\ntowers = "towers"\nidentity = "encoder"\n'
        'words = false\n[config]\nname = "toy"\nnum_inference_steps = 2\n'
    )
    return config


def test_init_writes_a_model_that_info_describes(cli, pipe, at_home):
    config = save_parts(pipe, at_home)
    answer = cli("init", config, "-o", "model", "--json")
    assert answer.code == 0
    assert answer.json["size_mb"] > 0
    described = cli("info", "model", "--json")
    assert described.code == 0
    assert "toy" in described.out


def test_init_names_the_part_that_is_absent(cli, pipe, at_home):
    config = save_parts(pipe, at_home)
    answer = cli("init", config, "-o", "model", "-s", "codec=lost", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "missing_weights")
    assert not (at_home / "model").exists()


def test_unknown_setting_is_refused(cli, pipe, at_home):
    config = save_parts(pipe, at_home)
    answer = cli("init", config, "-o", "model", "-s", "codek=codec", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_option")
