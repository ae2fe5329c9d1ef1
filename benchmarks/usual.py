"What both benchmarks compare with: how the public tutorial 'Image Colorization with U-Net and GAN' turns a photo into numbers."
import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2lab


def usual_sample(im, size, flip, box=None):
    "L and ab of one photo as in the tutorial: PIL resizes and flips, scikit-image's Lab, photo by photo. `box` is a crop in pixels."
    im = im.convert('RGB').resize((size, size), Image.Resampling.BICUBIC, box=box)
    if flip: im = im.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    lab = torch.from_numpy(rgb2lab(np.array(im)).astype('float32').transpose(2, 0, 1)).contiguous()
    return {'L': lab[[0]]/50 - 1, 'ab': lab[[1, 2]]/110}
