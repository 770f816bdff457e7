import numpy as np

from catsdogs_train.data.blank_frames import draw_blank_frames


def test_nothing_is_blank_dark_noise_or_blurred() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[::8] = 255
    frames = draw_blank_frames(80, 64, 0, [image])
    assert frames.shape == (80, 64, 64, 3)
    assert np.array_equal(frames, draw_blank_frames(80, 64, 0, [image]))
    assert not np.array_equal(frames, draw_blank_frames(80, 64, 1, [image]))
    _, noise, dark, blurred = (frames[kind::4] for kind in range(4))
    assert dark.mean() < 15
    assert noise.std(axis=(1, 2, 3)).min() > 20
    assert blurred.std(axis=(1, 2, 3)).max() < 40 < image.std()
