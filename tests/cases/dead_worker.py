"""A data worker killed (as the out-of-memory killer does): RuntimeError traceback, not a line, and the steps since the last checkpoint are lost."""
import os, sys; REPO = os.environ.get("PROJECT", os.getcwd()); sys.path.insert(0, REPO); os.chdir(REPO); os.environ.setdefault("JAX_PLATFORMS", "cpu"); sys.dont_write_bytecode = True
import signal, subprocess, tempfile, time
d = tempfile.mkdtemp()
p = subprocess.Popen([sys.executable, 'train.py', '--config', 'configs/quickstart.py', '--config.duration=4000 steps', '--config.data.loader.num_people=64', '--config.evals.val.data.loader.num_people=16', '--config.batch_size=8',
  '--config.data.bank.num_people=20', '--config.save_every=4000 steps', '--config.log_every=2 steps', '--config.system.model.width=8', '--config.system.model.stem_width=16', '--config.data.num_workers=2', '--workdir', d + '/run'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
def workers(): return [int(x) for x in subprocess.run(['pgrep', '-P', str(p.pid), '-f', 'spawn_main'], capture_output=True, text=True).stdout.split()]
t = time.time()
while time.time() - t < 300 and p.poll() is None:
  try:
    if len(open(d + '/run/metrics.jsonl').readlines()) >= 2: break
  except OSError: pass
  time.sleep(0.2)
os.kill(workers()[0], signal.SIGKILL); t = time.time()
out = p.communicate(timeout=200)[0]
print(f'ended {time.time() - t:.0f} s later, rc {p.returncode}, tracebacks {out.count("Traceback")}, checkpoints {os.listdir(d + "/run/checkpoints")}, last line: {out.strip().splitlines()[-1][:150]}'); sys.exit('Traceback' in out or not os.listdir(d + '/run/checkpoints'))
