"""The network of lifting_step.py as one writes it in PyTorch today, with the same losses and sizes.

On a GPU in its fastest form: bfloat16 autocast, fused attention, torch.compile. Needs torch.
"""
import os

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody imports it
from torch import nn

HEADS = 8


class Block(nn.Module):
  """Self-attention and MLP of tokens (N,L,C), norms in front."""

  def __init__(self, width):
    super().__init__()
    self.norm, self.mlp_norm = (nn.LayerNorm(width) for _ in range(2))
    self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
    self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

  def forward(self, x):
    n, length, width = x.shape
    qkv = self.qkv(self.norm(x)).view(n, length, 3, HEADS, width // HEADS)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
    x = x + self.out(seen)
    return x + self.mlp(self.mlp_norm(x))


class Net(nn.Module):
  """Clips (B,T,J,2) to poses (B,T,J,3)."""

  def __init__(self, width, depth, frames, joints):
    super().__init__()
    self.embed = nn.Linear(2, width)
    self.joint = nn.Parameter(torch.zeros(joints, width))
    self.frame = nn.Parameter(torch.zeros(frames, 1, width))
    self.space, self.time = (nn.ModuleList(Block(width) for _ in range(depth)) for _ in range(2))
    self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

  def forward(self, keypoints):
    x = self.embed(keypoints) + self.joint + self.frame
    b, t, j, c = x.shape
    for space, time in zip(self.space, self.time, strict=True):
      x = space(x.reshape(b * t, j, c)).view(b, t, j, c).transpose(1, 2)
      x = time(x.reshape(b * j, t, c)).view(b, j, t, c).transpose(1, 2)
    return self.head(self.norm(x))


class Peer:
  """The network with AdamW. data: keypoints_2d (B,T,J,2) and keypoints_3d (B,T,J,3) float32."""

  def __init__(self, width, depth, data):
    self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    self.fast = self.device == 'cuda'
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    self.clips, truth = (torch.tensor(data[k]).to(self.device)
                         for k in ('keypoints_2d', 'keypoints_3d'))
    self.truth = truth - truth[:, :, :1]
    net = Net(width, depth, *self.clips.shape[1:3]).to(self.device)
    self.num_parameters = sum(p.numel() for p in net.parameters())
    self.optimizer = torch.optim.AdamW(net.parameters(), 5e-4, weight_decay=0.01)
    self.net = torch.compile(net) if self.fast else net

  def train(self):
    """One step; returns when it is done."""
    self.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(self.device, torch.bfloat16, enabled=self.fast):
      pose = self.net(self.clips).float()
    truth = self.truth
    scale = (pose * truth).sum((2, 3), keepdim=True) / (pose * pose).sum((2, 3), keepdim=True)
    length = lambda x: x.norm(dim=-1).mean()
    loss = length(pose - truth) + 0.5 * length(scale * pose - truth) + 20 * length(
      pose.diff(dim=1) - truth.diff(dim=1))
    loss.backward()
    self.optimizer.step()
    if self.fast:
      torch.cuda.synchronize()
