"""Photos a second of two GAN trainings, end to end: the same networks from the same weights, the same photos, crops and batches, taking turns in one process:
(usual) as the public tutorial 'Image Colorization with U-Net and GAN' does it: PIL opens each file, scikit-image's Lab photo by photo, float32, Adam;
(ours) `run_learner`: photos decoded once, Lab for the batch, bfloat16, channels-last, fused Adam, with log and callbacks.
The losses of both go into steps.csv (lesson 07 draws them): what is gained in time must not be lost in learning.

    python benchmarks/training.py [--photos FOLDER] [--generator pix2pix_unet --net n_down=7] [--size 128] [--bs 16] [--steps 10] [--turns 8] [--out FOLDER]
"""
import argparse, json, random, statistics, tempfile, time
from pathlib import Path
import torch
from fastai.vision.all import Callback, CancelFitException, set_seed
from PIL import Image
from colorize_nb.data import CropFlip, PhotoCache, photo_dls
from colorize_nb.losses import ColorLoss, GANLoss
from colorize_nb.patchgan import PatchDiscriminator
from colorize_nb.photo import find_photos, photos_dir, write_csv
from colorize_nb.runs import net_config, provenance, run_learner
from colorize_nb.training import Adversary
from colorize_nb.unet import create_generator
from usual import usual_sample


class UsualPhotos(torch.utils.data.Dataset):
    "The tutorial's data set, in the order and with the crops of `dl`, so that losses can be compared."
    def __init__(self, dl, photos, size):
        self.dl, self.photos, self.size, self.crop = dl, photos, size, CropFlip(size)
        self.order = dl.get_idxs()
    def __len__(self): return len(self.order)
    def __getitem__(self, k):
        i, dl = self.order[k], self.dl
        n = dl.dataset.items[i]
        path, _, _, _, h, w = self.photos.items[n]
        random.seed(dl.seed_for(i))
        self.crop.before_call(torch.empty(3, h, w), 0)
        im = Image.open(path)
        left, top, cw, ch = (v*im.width/w for v in self.crop.box)
        return usual_sample(im, self.size, self.crop.flip, (left, top, min(im.width, left + cw), min(im.height, top + ch)))


class UsualTraining:
    "The tutorial's step, batch after batch."
    def __init__(self, generator, discriminator, loader):
        self.G, self.D, self.batches, self.device = generator.train(), discriminator.train(), iter(loader), next(generator.parameters()).device
        self.opt_G, self.opt_D = (torch.optim.Adam(net.parameters(), lr=2e-4, betas=(.5, .999)) for net in (self.G, self.D))
        self.gan, self.losses = GANLoss('vanilla'), []
    def step(self):
        batch = next(self.batches)
        L, ab = (batch[k].to(self.device) for k in ('L', 'ab'))
        fake = self.G(L)
        self.D.requires_grad_(True)
        loss_D = (self.gan(self.D(L, fake.detach()), False) + self.gan(self.D(L, ab), True))/2
        self.opt_D.zero_grad(); loss_D.backward(); self.opt_D.step()
        self.D.requires_grad_(False)
        G_L1 = torch.nn.functional.l1_loss(fake, ab)
        loss_G = self.gan.fool(self.D(L, fake)) + 100*G_L1
        self.opt_G.zero_grad(); loss_G.backward(); self.opt_G.step()
        self.losses.append((G_L1.item(), loss_D.item()))


class Turns(Callback):
    "After each turn of the Learner a turn of the usual training, both by the clock."
    order = 90
    def __init__(self, usual, steps, turns): self.usual, self.steps, self.turns = usual, steps, turns
    def before_fit(self): self.ours, self.theirs, self.losses = [], [], []
    def before_train(self): self.began = time.perf_counter()
    def after_batch(self):
        p = self.learn.adversary.parts
        self.losses.append((float(p['loss_G_L1']), float(p['loss_D'])))
        if (self.iter + 1) % self.steps: return
        self.ours.append(time.perf_counter() - self.began)
        began = time.perf_counter()
        for _ in range(self.steps): self.usual.step()
        self.theirs.append(time.perf_counter() - began)
        photos = self.steps*self.dls.train.bs
        print(f'turn {len(self.ours)}/{self.turns}: usual {photos/self.theirs[-1]:.1f}, ours {photos/self.ours[-1]:.1f} photos/s', flush=True)
        if len(self.ours) == self.turns: raise CancelFitException()
        self.began = time.perf_counter()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--photos', type=Path, default=None, help='folder of photos; default the ones that come with the project')
    p.add_argument('--generator', default='pix2pix_unet')
    p.add_argument('--net', default='n_down=7', help='settings of the generator')
    p.add_argument('--size', type=int, default=128, help="squares that the networks see, in pixels; the tutorial's are 256")
    p.add_argument('--bs', type=int, default=16, help="photos a batch; 16 is the tutorial's")
    p.add_argument('--steps', type=int, default=10, help='batches a turn')
    p.add_argument('--turns', type=int, default=8, help='turns of each')
    p.add_argument('--workers', type=int, default=0, help='worker processes of both loaders')
    p.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    p.add_argument('--out', type=Path, default=Path('runs/speed'))
    a = p.parse_args()
    need = a.steps*a.turns*a.bs
    with tempfile.TemporaryDirectory() as folder:
        paths = find_photos(a.photos or photos_dir()/'color')
        photos = PhotoCache(paths[:max(2*need, 64)], side=a.size*9//8, folder=folder)
        while len(photos.items)*.8 < need: photos.items = photos.items*2  # few photos: each comes again, with other crops
        dls = photo_dls(photos, size=a.size, bs=a.bs, num_workers=a.workers, device=a.device)
        loader = torch.utils.data.DataLoader(UsualPhotos(dls.train, photos, a.size), batch_size=a.bs, num_workers=a.workers)
        def networks():
            set_seed(0)
            return create_generator(a.generator, pretrained=False, **net_config(a.net)).to(a.device), PatchDiscriminator().to(a.device)
        usual, (generator, discriminator) = UsualTraining(*networks(), loader), networks()
        turns = Turns(usual, a.steps, a.turns)
        learn = run_learner(dls, generator, Path(folder)/"run", every=1e9, loss=ColorLoss(beta=0.),
                            adversary=Adversary(discriminator), beta1=.5, clip=0.)
        learn.fit(1, 2e-4, wd=0., cbs=turns)
        photos._maps.clear()
    n = a.steps*a.bs
    speed = {k: n/statistics.median(t[1:]) for k, t in (('usual', turns.theirs), ('ours', turns.ours))}  # the first turn warms up
    ratios = sorted(t/o for t, o in zip(turns.theirs[1:], turns.ours[1:]))
    rows = [dict(step=i + 1, usual_G_L1=u[0], ours_G_L1=o[0], usual_D=u[1], ours_D=o[1]) for i, (u, o) in enumerate(zip(usual.losses, turns.losses))]
    last = {k: statistics.mean(r[f'{k}_G_L1'] for r in rows[-20:]) for k in ('usual', 'ours')}
    result = dict(provenance(), photos=len(set(paths)), size=a.size, batch=a.bs, threads=torch.get_num_threads(), usual_photos_a_second=round(speed['usual'], 2), ours_photos_a_second=round(speed['ours'], 2),
                  ratio=round(speed['ours']/speed['usual'], 2), ratios_of_turns=[round(r, 2) for r in ratios], mean_L1_of_last_20_steps={k: round(v, 4) for k, v in last.items()})
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out/'speed.json').write_text(json.dumps(result, indent=1) + '\n')
    write_csv(a.out/'steps.csv', rows)
    print(f'{a.generator} at {a.size} px, batch {a.bs}: usual {speed["usual"]:.1f}, ours {speed["ours"]:.1f} photos/s, ratio {result["ratio"]:.2f} (turns {ratios[0]:.2f} to {ratios[-1]:.2f}); '
          f'mean L1 of the last 20 steps: usual {last["usual"]:.4f}, ours {last["ours"]:.4f}; see {a.out}')


if __name__ == '__main__': main()
