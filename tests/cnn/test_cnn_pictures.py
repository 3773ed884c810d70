"""Pictures as input of the convolutional network: size, polarity, uneven light."""

import numpy as np
import pytest

from fastnn.cnn import images


def test_pictures_of_any_size_and_polarity_are_the_same_digit(drawn, tmp_path):
    from PIL import Image

    expected = images.centered(drawn.astype(float)).astype(float)
    wide = np.pad(drawn, ((100, 30), (20, 400)))
    transparent = np.zeros((*drawn.shape, 4), np.uint8)
    transparent[..., 3] = drawn  # black ink on nothing
    for name, picture in {
        "plain.png": Image.fromarray(drawn),
        "dark.png": Image.fromarray(255 - drawn),
        "wide.png": Image.fromarray(wide),
        "color.png": Image.fromarray(np.stack([255 - drawn // 2] * 3, axis=2)),
        "small.png": Image.fromarray(drawn).resize((70, 70)),
        "photo.jpg": Image.fromarray(255 - drawn),
        "transparent.png": Image.fromarray(transparent),
        "palette.png": Image.fromarray(drawn).convert("P"),
    }.items():
        picture.save(tmp_path / name)
        found = images.read(tmp_path / name).astype(float)
        # scaling and JPEG move the edges by a fraction of a pixel
        assert np.abs(found - expected).mean() < 8, name


@pytest.mark.parametrize("right", [180, 120, 60])
@pytest.mark.parametrize("corner", [False, True], ids=["side", "corner"])
def test_uneven_light_is_taken_out(drawn, tmp_path, right, corner):
    from PIL import Image

    ink = np.pad(drawn, 70) / 255
    across, down = np.meshgrid(*[np.linspace(0, 1, len(ink))] * 2)
    shade = np.hypot(across, down) / np.sqrt(2) if corner else across
    grain = np.random.default_rng(0).normal(0, 2, ink.shape)
    for name, light in (("even", 230 + 0 * shade), ("uneven", 230 + (right - 230) * shade)):
        photo = np.clip(light * (1 - 0.85 * ink) + grain, 0, 255)
        Image.fromarray(photo.astype(np.uint8)).save(tmp_path / f"{name}.png")
    notes = []
    even = images.read(tmp_path / "even.png", notes).astype(float)
    assert notes == []
    uneven = images.read(tmp_path / "uneven.png", notes).astype(float)
    assert np.abs(uneven - even).mean() < 8  # of 255; with one brightness up to 37
    (note,) = notes
    assert "uneven light, the border goes from" in note
    assert "--save-input" in note


def test_images_that_the_network_sees_are_written(drawn, tmp_path):
    from PIL import Image

    pictures = np.array([images.centered(x.astype(float)) for x in (drawn, drawn.T)])
    paths = images.write(tmp_path / "seen", ["a", "a"], pictures)
    assert [path.name for path in paths] == ["a.png", "a-2.png"]
    for path, picture in zip(paths, pictures, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)


def test_images_of_mnist_stay_what_they_are(mnist):
    """Its own images are scaled and centred already."""
    X = mnist.test[0][:300, :, :, 0].astype(float)
    found = np.array([images.centered(x) for x in X])
    assert np.abs(found - X).mean() < 2  # of 255
    np.testing.assert_array_equal([images.centered(255 - x) for x in X[:20]], found[:20])


def test_pictures_that_are_none(tmp_path, refused, finished, drawn):
    from PIL import Image

    Image.new("L", (40, 40), 200).save(tmp_path / "blank.png")
    Image.fromarray(drawn).save(tmp_path / "good.png")
    contents = (tmp_path / "good.png").read_bytes()
    (tmp_path / "short.png").write_bytes(contents[: len(contents) // 2])
    (tmp_path / "text.png").write_text("no picture")
    for name, message in {
        "blank.png": "blank",
        "short.png": "damaged",
        "text.png": "not a PNG or JPEG",
        "missing.png": "No such file",
    }.items():
        line = refused("predict", finished[0], tmp_path / "good.png", tmp_path / name)
        assert message in line
        assert name in line
