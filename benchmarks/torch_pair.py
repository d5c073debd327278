"""The pair as one writes it in PyTorch today: two timm HRNets with a 1x1 head and the same losses.

On a GPU in its fastest form: channels last, bfloat16 autocast, torch.compile. Needs torch and timm.
"""
import os

import timm
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody imports it

MUTUAL, TEMPERATURE = 0.02, 0.1
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Net(torch.nn.Module):

  def __init__(self, name, num_keypoints):
    super().__init__()
    self.body = timm.create_model(name, features_only=True, feature_location='', out_indices=(1,))
    self.head = torch.nn.Conv2d(self.body.feature_info.channels()[0], num_keypoints, 1)

  def forward(self, images):
    return self.head(self.body(images)[0])


class Pair:
  """GNet and ENet with Adam.

  batch: image, occluded_image (B,H,W,3) uint8; target (B,h,w,K) float32; visibility (B,K). Unlike
  ours, the targets are drawn beforehand.
  """

  def __init__(self, width, batch):
    self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    self.fast = self.device == 'cuda'
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    images = [torch.tensor(batch[k]).permute(0, 3, 1, 2) for k in ('image', 'occluded_image')]
    mean, std = (torch.tensor(v)[:, None, None] for v in (_MEAN, _STD))
    put = lambda x: x.to(self.device).contiguous(memory_format=torch.channels_last)
    self.images = [put((x / 255 - mean) / std) for x in images]
    self.target = put(torch.tensor(batch['target']).permute(0, 3, 1, 2))
    self.weight = torch.tensor(batch['visibility'] > 0).float().to(self.device)
    nets = [Net(f'hrnet_w{width}', self.target.shape[1]).to(self.device) for _ in range(2)]
    nets = [net.to(memory_format=torch.channels_last) for net in nets]
    self.optimizer = torch.optim.Adam([p for net in nets for p in net.parameters()], 1e-3)
    self.nets = [torch.compile(net) if self.fast else net for net in nets]

  def _forward(self):
    with torch.autocast(self.device, torch.bfloat16, enabled=self.fast):
      return [net(x).float() for net, x in zip(self.nets, self.images, strict=True)]

  def train(self):
    """One step; returns when it is done."""
    for net in self.nets:
      net.train()
    self.optimizer.zero_grad(set_to_none=True)
    maps, loss = self._forward(), 0.0
    for own, partner in (maps, maps[::-1]):
      error = (own - self.target) * self.weight[:, :, None, None]
      loss = loss + 0.5 * error.square().mean() + MUTUAL * self._mutual(own, partner.detach())
    loss.backward()
    self.optimizer.step()
    self._wait()

  def _mutual(self, own, partner):
    log_q, log_p = (F.log_softmax(x.flatten(2) / TEMPERATURE, -1) for x in (own, partner))
    each = (log_p.exp() * (log_p - log_q)).sum(-1)
    return (each * self.weight).sum() / self.weight.sum().clamp(min=1)

  @torch.no_grad()
  def infer(self):
    """Heatmaps of both networks; returns when they are done."""
    for net in self.nets:
      net.eval()
    self._forward()
    self._wait()

  def _wait(self):
    if self.fast:
      torch.cuda.synchronize()
