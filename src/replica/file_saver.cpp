#include "file_saver.h"

#include "esc/base/assert.h"

namespace esc::replica {

void FileSaver::save(const std::string& directory, std::string_view name, void (*done)(void* context, Errc),
                     void* context) {
  ESC_ASSERT(idle());
  busy_ = true;
  error_ = Errc::ok;
  file_ = {};
  directory_ = directory;
  path_ = directory + "/" + std::string(name);
  temporary_ = path_ + ".new";
  done_ = done;
  context_ = context;
  submit(Step::open);
}

void FileSaver::submit(Step step) {
  step_ = step;
  op_ = io::DiskOp{};
  op_.file = file_;
  switch (step) {
    case Step::open:
      op_.kind = io::DiskOp::Kind::open;
      op_.path = temporary_.c_str();
      op_.flags = {.write = true, .create = true};
      break;
    case Step::write:
      op_.kind = io::DiskOp::Kind::write;
      op_.buffer = contents_;
      break;
    case Step::truncate:  // what a process that died has left may be longer
      op_.kind = io::DiskOp::Kind::truncate;
      op_.length = contents_.size();
      break;
    case Step::sync: op_.kind = io::DiskOp::Kind::sync_data; break;
    case Step::close: op_.kind = io::DiskOp::Kind::close; break;
    case Step::rename:
      op_.kind = io::DiskOp::Kind::rename;
      op_.path = temporary_.c_str();
      op_.path2 = path_.c_str();
      break;
    case Step::sync_directory:
      op_.kind = io::DiskOp::Kind::sync_dir;
      op_.path = directory_.c_str();
      break;
  }
  op_.context = this;
  op_.done = [](io::DiskOp& op) { static_cast<FileSaver*>(op.context)->on_step_done(); };
  disk_.submit(op_);
}

void FileSaver::on_step_done() {
  if (error_ == Errc::ok) error_ = op_.error;
  const bool ok = error_ == Errc::ok;
  switch (step_) {
    case Step::open:
      if (!ok) return finish(error_);
      file_ = op_.file;
      return submit(Step::write);
    case Step::write: return submit(ok ? Step::truncate : Step::close);
    case Step::truncate: return submit(ok ? Step::sync : Step::close);
    case Step::sync: return submit(Step::close);
    case Step::close: file_ = {}; return ok ? submit(Step::rename) : finish(error_);
    case Step::rename: return ok ? submit(Step::sync_directory) : finish(error_);
    case Step::sync_directory: return finish(error_);
  }
  ESC_UNREACHABLE("step");
}

void FileSaver::finish(Errc code) {
  busy_ = false;
  done_(context_, code);
}

}  // namespace esc::replica
