"""What the fields of every config mean, and which numbers they can be."""
# What each field means, for --explain; a star stands for any network, or any entry of `evals`.
# Arguments of systems, networks and data loaders (`system`, `system.model`, `data.loader`) are not
# here: their docstrings explain them. Durations are texts such as '10 epochs' or '500 steps'.
FIELDS = {
  'task': "kind of problem: 'top_down', one person in a crop, or another file of dslope_jax/tasks/",
  'seed': 'a whole number that all random draws come from: first weights, order of samples, '
          'augmentation, occlusion',
  'duration': 'length of the training, in epochs or steps',
  'batch_size': 'samples of one step, of all devices together; a pair of crops is one sample',
  'accumulate': 'micro-batches that a batch is split into, one after the other (gradient '
                'accumulation): less memory, more time',
  'remat': 'recompute activations in the backward pass (gradient checkpointing): less memory, '
           'more time',
  'ema_decay': 'above 0 a moving average of the weights is kept, and evaluated; its decay in a '
               'step, such as 0.999',
  'init_from.*': 'weights that the network starts from: a run, RUN:NETWORK or a weight file; see '
                 'docs/weights.md',
  'fresh_head': 'init_from takes all but the head, for other keypoints',
  'log_every': 'interval between lines of metrics.jsonl, in epochs or steps',
  'eval_every': 'interval between evaluations, in epochs or steps; the last step is evaluated, too',
  'save_every': 'interval between checkpoints, in epochs or steps; the last step is saved, too',
  'keep': 'newest checkpoints that are kept, a number',

  'system.name': 'what is trained: a file of dslope_jax/systems/',
  'system.*.name': 'architecture: a file of dslope_jax/models/',
  'system.mutual.weights.gnet': "factor of the mutual term in GNet's loss; published 1e-5 for "
                                "'mse'",
  'system.mutual.weights.enet': "factor of the mutual term in ENet's loss; published 1e-3 for "
                                "'mse', 1e-5 for 'distill'",

  'system.states': 'a further network tells which joints are in sight and in the picture; set it '
                   "by the word 'states' after the config's name, which adds its optim section",

  'optim.*.lr': 'learning rate of Adam after the warm-up',
  'optim.*.schedule': "learning rate over time: 'multistep', 'constant', 'exponential', 'cosine' "
                      "or 'linear', the last two down to 0 at the end",
  'optim.*.boundaries': "of 'multistep': times, in epochs or steps, at which the rate is "
                        'multiplied by factor',
  'optim.*.factor': "of 'multistep' at each boundary, of 'exponential' after each epoch",
  'optim.*.warmup': 'rise of the learning rate from warmup_from * lr to lr, in epochs or steps',
  'optim.*.warmup_from': 'share of lr at which the warm-up begins',
  'optim.*.weight_decay': 'share of the weights that is subtracted in a step, times the learning '
                          'rate (AdamW)',
  'optim.*.l2': 'share of the weights that is added to their gradient (weight_decay of '
                "PyTorch's Adam)",
  'optim.*.decay': "what weight_decay and l2 reach: 'kernels' or 'all' parameters",
  'optim.*.beta2': 'decay of the second moments of the gradient',
  'optim.*.amsgrad': 'divide by the largest second moment so far (AMSGrad)',
  'optim.*.clip': 'largest norm of the gradient of the network; 0 for any',
  'optim.*.layer_decay': 'factor on the learning rate for each layer further from the head; 1 for '
                         'none; of ViTPose only',
  'optim.*.frozen': 'the network keeps its weights',

  'data.name': 'data set: a file of input_pipeline/sources/, or crowdpose, aic, jhmdb; of '
               'lifting a file of input_pipeline/sequences/, of recognition of '
               'input_pipeline/identities/, of bottom_up of input_pipeline/pictures/',
  'data.root': 'folder of the data set',
  'data.train_split': 'split that is trained on',
  'data.size': 'width and height of the crops, or of the whole pictures of bottom_up as networks '
               'see them, in pixels; config words such as 384x288 are height x width',
  'data.crop': "how faces of recognition are cut out: by 'landmarks', turned, scaled and shifted "
               "so that eyes, nose and mouth lie where the template has them, or by the 'box'",
  'data.padding': "factor on the longer side of the box, of crops by the 'box' and of faces "
                  'without landmarks',
  'data.num_workers': 'data processes; 0 works in threads of the training process',
  'data.max_unreadable': 'picture files that cannot be read and count as without labels; one more '
                         'stops the run',
  'data.patience': 'time without a new batch that ends the run, in seconds',
  'data.prepared': 'folder of prepared crops to train on; see docs/performance.md',
  'data.recipe': 'how the occluded crops are drawn in training, see docs/occlusion.md; of lifting '
                 'how joints are hidden, see docs/lifting.md',
  'data.target': "what lifting predicts: 'image', pixels and a depth scaled to pixels, or "
                 "'camera', metres in the frame of the camera",
  'data.beside.name': 'data set of bottom_up that is trained on beside the first; empty: none',
  'data.beside.root': 'its folder',
  'data.beside.train_split': 'its split',
  'data.beside.times': 'how often an epoch has its pictures',
  'data.beside.loader': 'options of its loader',
  'data.beside.scale': 'lowest and highest factor on its pictures',
  'data.max_people': 'rows for people in a picture, P; those beyond, the smallest, are ignored and '
                     'counted',
  'data.frames': 'frames of a clip, T',
  'data.stride': 'frames from the beginning of a training clip to that of the next',
  'data.windows': "how clips are cut out of a sequence: 'drop', 'cover' or 'centre'; see "
                  'docs/lifting.md',
  'data.flip_prob': 'probability, 0 to 1, that a training clip is mirrored',
  'data.holdout': 'share of the training pictures, 0 to 1, that is kept from training, to '
                  'calibrate confidences on',
  'data.bank.num_people': 'training people that patches are cut from, at most',
  'data.bank.seed': 'of the choice of these people',
  'data.bank.folder': 'folder of a patch bank made before; empty: WORKDIR/patches, of bottom_up '
                      'none, and black boxes are pasted',
  'data.augmentation.scale': 'standard deviation of the factor on the crop size, which is 1 in the '
                             'mean and never differs from it by more than this; of recognition '
                             'twice this; of whole pictures the lowest and the highest factor',
  'data.augmentation.rotation': 'standard deviation of the rotation, in degrees; never more than '
                                'twice that; of whole pictures the largest rotation',
  'data.augmentation.shift': "standard deviation of the shift, as a share of the crop's side; "
                             'never more than twice that',
  'data.augmentation.jitter': "share of the network's width that a whole picture is moved by, at "
                              'most, in x and in y',
  'data.augmentation.light': 'largest difference from 1 of the factor on the brightness',
  'data.augmentation.contrast': 'largest difference from 1 of the factor on the contrast',
  'data.augmentation.saturation': 'largest difference from 1 of the factor on the saturation',
  'data.augmentation.rotation_prob': 'probability, 0 to 1, that a crop is rotated',
  'data.augmentation.flip_prob': 'probability, 0 to 1, that a crop or a whole picture is mirrored',
  'data.augmentation.half_body_prob': 'probability, 0 to 1, that the crop shows the upper or lower '
                                      'body only',
  'data.augmentation.half_body_joints': 'labelled joints above which a crop may show half a body',

  'evals.*.split': 'split that is scored',
  'evals.*.metric': 'how it is scored: a name of docs/evaluation.md',
  'evals.*.recipe': 'how the occluded pictures are drawn; see docs/occlusion.md',
  'evals.*.pairs': 'pairs of pictures that are drawn, half of them of one person, for a set that '
                   'does not name any',
  'evals.*.boxes': "boxes that people are cut out by: 'gt', the ground truth, or a detector's COCO "
                   'result file',
  'evals.*.batch_size': 'people of one batch, of all devices together',
  'evals.*.flip': 'average with the prediction on the mirrored crop (flip test)',
  'evals.*.shift': 'shift the mirrored heatmaps by one heatmap pixel before the average; with '
                   "codec 'udp' never",
  'evals.*.peak': "height, 0 to 1, above which a map's peak is a joint; 0: as system.thresholds "
                  'says',
  'evals.*.windows': 'as data.windows, of the clips that are scored',
  'evals.*.stride': 'as data.stride, of the clips that are scored; 0: as many as a clip has frames',
  'evals.*.oks_nms': 'OKS, 0 to 1, above which the less certain of two poses is suppressed; 0 '
                     'suppresses none',
  'evals.*.data.name': 'data set of this entry; empty: config.data.name',
  'evals.*.data.root': 'its folder; empty: config.data.root',
  'evals.*.data.loader': 'options of its loader; what is not given is taken from '
                         'config.data.loader',
}

# Of the networks of several people.
_OF_PARTS = ('system.detector.stages', 'system.reasoner.stages', 'system.*.decoder_width',
             'system.detector.*s[]', 'system.reasoner.*s[]', 'system.refiner.*s[]')
# {range: (is a number in it, fields)}, checked before anything is made; FIELD[] are the numbers of
# a list.
RANGES = {
  '1 or more': (lambda x: x >= 1, (
    'batch_size', 'accumulate', 'keep', 'evals.*.batch_size', 'data.bank.num_people',
    'system.model*.width', 'system.model*.stem_width', 'system.model*.depth', 'system.gcn.width',
    'system.model*.heads', 'system.gcn.hops', 'system.model*.dim', 'data.frames', 'data.stride',
    'data.max_people', 'data.beside.times', 'system.max_people', 'system.max_peaks',
    'evals.*.pairs', *_OF_PARTS)),
  '0 to 4294967295': (lambda x: 0 <= x < 2**32, ('seed', 'data.bank.seed')),
  '0 or more': (lambda x: x >= 0, (
    'system.model*.encoder_layers', 'system.model*.decoder_layers', 'optim.*.lr',
    'optim.*.weight_decay', 'optim.*.l2', 'optim.*.clip', 'data.num_workers',
    'data.max_unreadable', 'data.augmentation.rotation', 'data.augmentation.jitter',
    'data.augmentation.half_body_joints', 'data.augmentation.shift', 'system.margin',
    'system.covered_weight', 'system.mutual.weights.*', 'system.weights.*',
    'system.model.embedding_std', 'system.student_weight', 'evals.*.stride')),
  'above 0': (lambda x: x > 0, (
    'optim.*.factor', 'system.model*.mlp_ratio', 'system.model*.epsilon', 'data.patience',
    'data.padding', 'system.sigma', 'system.scale', 'system.*.head_scale',
    'data.augmentation.scale[]', 'data.beside.scale[]',
    'system.mutual.temperature', '*loader.padding')),
  '0 to 1': (lambda x: 0 <= x <= 1, (
    'optim.*.warmup_from', 'data.augmentation.*_prob', 'data.flip_prob', 'evals.*.oks_nms',
    'evals.*.peak', 'system.detected_share', 'system.joint_dropout')),
  'above 0, and 1 at most': (lambda x: 0 < x <= 1, ('optim.*.layer_decay',)),
  '0 or more, and below 1': (lambda x: 0 <= x < 1, (
    'ema_decay', 'optim.*.beta2', 'data.holdout', 'data.augmentation.scale',
    'data.augmentation.light', 'data.augmentation.contrast', 'data.augmentation.saturation',
    'system.model.dropout', 'system.model*.drop_path')),
}
