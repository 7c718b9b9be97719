#include "esc/sim/file_system.h"

#include <algorithm>
#include <cerrno>

#include "esc/base/assert.h"

namespace esc::sim {
namespace {

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

// The root has no name here.
std::string without_root(const std::string& path) {
  return path == "/" ? std::string() : path;
}

}  // namespace

FileSystem::FileSystem(Prng prng) : prng_(prng) {
  directories_.insert("");
}
FileSystem::~FileSystem() = default;

int FileSystem::fault_for(io::DiskOp::Kind kind, const std::string& path) {
  ++operations_;
  if (fuse_ == 0) return EIO;
  if (fuse_ != UINT64_MAX) --fuse_;
  for (Fault& fault : faults_) {
    if (fault.kind != kind || path.find(fault.path_part) == std::string::npos) continue;
    if (fault.skip > 0) {
      --fault.skip;
      continue;
    }
    if (fault.count == 0) continue;
    --fault.count;
    return fault.os_error;
  }
  return 0;
}

std::uint64_t FileSystem::used_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& [path, inode] : names_) bytes += inode->seen.size();
  return bytes;
}

void FileSystem::corrupt(const std::string& path, std::uint64_t offset, std::uint8_t xor_mask) {
  const auto found = names_.find(path);
  ESC_ASSERT(found != names_.end() && offset < found->second->seen.size());
  Inode& inode = *found->second;
  inode.seen[offset] ^= std::byte{xor_mask};
  if (offset < inode.stable.size()) inode.stable[offset] ^= std::byte{xor_mask};
}

// --- files ---

const FileSystem::Handle* FileSystem::handle(int fd) const {
  const auto found = handles_.find(fd);
  return found == handles_.end() ? nullptr : &found->second;
}

const std::string& FileSystem::path_of(int fd) const {
  static const std::string kNone;
  const Handle* h = handle(fd);
  return h == nullptr ? kNone : h->path;
}

bool FileSystem::is_direct(int fd) const {
  const Handle* h = handle(fd);
  return h != nullptr && h->flags.direct_dsync;
}

int FileSystem::open(const std::string& path, io::OpenFlags flags, int& fd) {
  if ((flags.direct || flags.direct_dsync) && refuse_direct_) return EINVAL;
  auto found = names_.find(path);
  if (found != names_.end() && flags.create && flags.exclusive) return EEXIST;
  if (found == names_.end()) {
    if (!flags.create || !directories_.contains(parent_of(path))) return ENOENT;
    change_names({parent_of(path), path, {}, std::make_shared<Inode>()});
    found = names_.find(path);
  }
  fd = next_fd_++;
  handles_.emplace(fd, Handle{found->second, path, flags});
  return 0;
}

int FileSystem::close(int fd) {
  return handles_.erase(fd) == 1 ? 0 : EBADF;
}

int FileSystem::read(int fd, std::uint64_t offset, ByteSpan into, std::uint64_t& transferred) const {
  const Handle* h = handle(fd);
  if (h == nullptr) return EBADF;
  const auto& bytes = h->inode->seen;
  transferred = offset >= bytes.size() ? 0 : std::min<std::uint64_t>(into.size(), bytes.size() - offset);
  if (transferred > 0) std::memcpy(into.data(), bytes.data() + offset, transferred);
  return 0;
}

void FileSystem::apply(std::vector<std::byte>& image, std::uint64_t offset, ByteView bytes) {
  if (image.size() < offset + bytes.size()) image.resize(offset + bytes.size());
  if (!bytes.empty()) std::memcpy(image.data() + offset, bytes.data(), bytes.size());
}

int FileSystem::write(int fd, std::uint64_t offset, ByteView bytes) {
  const Handle* h = handle(fd);
  if (h == nullptr || !h->flags.write) return EBADF;
  Inode& inode = *h->inode;
  const std::uint64_t end = offset + bytes.size();
  const std::uint64_t growth = end > inode.seen.size() ? end - inode.seen.size() : 0;
  if (growth > 0 && (used_bytes() + growth > capacity_)) return ENOSPC;
  apply(inode.seen, offset, bytes);
  if (h->flags.direct_dsync) {
    // O_DSYNC covers this write only; what is unstable beneath it stays in order before it.
    for (const Unstable& u : inode.unstable)
      ESC_ASSERT_MSG(u.truncation || u.offset + u.bytes.size() <= offset || u.offset >= end,
                     "a durable write over an unstable one is not modelled");
    apply(inode.stable, offset, bytes);
  } else {
    inode.unstable.push_back({offset, {bytes.begin(), bytes.end()}, false});
  }
  return 0;
}

void FileSystem::write_interrupted(int fd, std::uint64_t offset, ByteView bytes, CrashKind kind) {
  const Handle* h = handle(fd);
  if (h == nullptr) return;  // closed by a process that was about to end anyway
  Inode& inode = *h->inode;
  if (offset + bytes.size() > inode.seen.size()) return;  // growth needs metadata that did not make it
  Unstable write{offset, {bytes.begin(), bytes.end()}, false};
  if (kind == CrashKind::process) {
    // The kernel had it: it completes, but nobody flushed it. Or it never left the process.
    if (prng_.chance(1, 2)) return;
    apply(inode.seen, offset, bytes);
  }
  inode.unstable.push_back(std::move(write));
}

int FileSystem::truncate(int fd, std::uint64_t bytes) {
  const Handle* h = handle(fd);
  if (h == nullptr || !h->flags.write) return EBADF;
  h->inode->seen.resize(bytes);
  h->inode->unstable.push_back({bytes, {}, true});
  return 0;
}

// Frees the space for used_bytes() only when the file goes.
int FileSystem::punch(int fd, std::uint64_t offset, std::uint64_t length) {
  const Handle* h = handle(fd);
  if (h == nullptr || !h->flags.write) return EBADF;
  const std::uint64_t end = std::min<std::uint64_t>(offset + length, h->inode->seen.size());
  if (offset >= end) return 0;
  const std::vector<std::byte> zeroes(end - offset);
  apply(h->inode->seen, offset, zeroes);
  h->inode->unstable.push_back({offset, zeroes, false});
  return 0;
}

int FileSystem::sync(int fd) {
  const Handle* h = handle(fd);
  if (h == nullptr) return EBADF;
  Inode& inode = *h->inode;
  for (const Unstable& u : inode.unstable) {
    if (u.truncation) {
      inode.stable.resize(u.offset);
    } else {
      apply(inode.stable, u.offset, u.bytes);
    }
  }
  inode.unstable.clear();
  return 0;
}

int FileSystem::size(int fd, std::uint64_t& bytes) const {
  const Handle* h = handle(fd);
  if (h == nullptr) return EBADF;
  bytes = h->inode->seen.size();
  return 0;
}

// --- names ---

void FileSystem::apply(Names& names, const NameChange& change) {
  if (!change.from.empty()) names.erase(change.from);
  if (change.inode != nullptr) {
    names[change.path] = change.inode;
  } else {
    names.erase(change.path);
  }
}

void FileSystem::change_names(NameChange change) {
  apply(names_, change);
  name_changes_.push_back(std::move(change));
}

int FileSystem::make_directory(const std::string& path) {
  directories_.insert(path);
  return 0;
}

int FileSystem::sync_directory(const std::string& name) {
  const std::string path = without_root(name);
  if (!directories_.contains(path)) return ENOENT;
  std::deque<NameChange> others;
  for (NameChange& change : name_changes_) {
    if (change.directory == path) {
      apply(stable_names_, change);
    } else {
      others.push_back(std::move(change));
    }
  }
  name_changes_ = std::move(others);
  return 0;
}

// All changes of names so far become stable with it.
void FileSystem::rename_directory(const std::string& from, const std::string& to) {
  for (const NameChange& change : name_changes_) apply(stable_names_, change);
  name_changes_.clear();
  const auto moved = [&](const std::string& path) {
    return path == from || path.starts_with(from + "/") ? to + path.substr(from.size()) : path;
  };
  for (Names* names : {&names_, &stable_names_}) {
    Names after;
    for (auto& [path, inode] : *names) after.emplace(moved(path), std::move(inode));
    *names = std::move(after);
  }
  std::set<std::string> directories;
  for (const std::string& path : directories_) directories.insert(moved(path));
  directories_ = std::move(directories);
}

int FileSystem::rename(const std::string& from, const std::string& to) {
  if (directories_.contains(from)) {
    if (exists(to)) return ENOTEMPTY;
    rename_directory(from, to);
    return 0;
  }
  const auto found = names_.find(from);
  if (found == names_.end()) return ENOENT;
  if (from == to) return 0;
  change_names({parent_of(to), to, from, found->second});
  return 0;
}

int FileSystem::remove(const std::string& path) {
  if (!names_.contains(path)) return ENOENT;
  change_names({parent_of(path), path, {}, nullptr});
  return 0;
}

bool FileSystem::exists(const std::string& path) const {
  return names_.contains(path) || directories_.contains(path);
}

int FileSystem::list(const std::string& name, std::vector<io::DirectoryEntry>& entries) const {
  const std::string directory = without_root(name);
  if (!directories_.contains(directory)) return ENOENT;
  for (const std::string& child : directories_)
    if (!child.empty() && child != directory && parent_of(child) == directory)
      entries.push_back({child.substr(directory.size() + 1), 0, true});
  for (const auto& [path, inode] : names_)
    if (parent_of(path) == directory)
      entries.push_back({path.substr(directory.size() + 1), inode->seen.size(), false});
  std::sort(entries.begin(), entries.end(),
            [](const io::DirectoryEntry& a, const io::DirectoryEntry& b) { return a.name < b.name; });
  return 0;
}

// --- crashes ---

// Each sector of the write persists, is lost, or tears.
void FileSystem::scatter(std::vector<std::byte>& image, const Unstable& write) {
  const std::uint64_t fate = prng_.below(4);  // all, none, or sector by sector
  if (fate == 0) return;
  for (std::uint64_t at = 0; at < write.bytes.size();) {
    const std::uint64_t sector_end = (write.offset + at) / kSectorBytes * kSectorBytes + kSectorBytes;
    std::uint64_t length = std::min(sector_end - (write.offset + at), write.bytes.size() - at);
    const std::uint64_t step = length;
    const std::uint64_t draw = fate == 1 ? 0 : prng_.below(8);
    if (draw == 7) length = prng_.below(length);
    if (draw < 4 || draw == 7) apply(image, write.offset + at, ByteView(write.bytes).subspan(at, length));
    at += step;
  }
}

void FileSystem::cut_power(Inode& inode) {
  for (const Unstable& u : inode.unstable) {
    if (!u.truncation) {
      scatter(inode.stable, u);
    } else if (prng_.chance(1, 2)) {
      inode.stable.resize(u.offset);
    }
  }
  inode.unstable.clear();
  inode.seen = inode.stable;
}

// In each directory the first few of the unstable changes made it.
void FileSystem::cut_names() {
  std::map<std::string, std::uint64_t> pending;
  for (const NameChange& change : name_changes_) ++pending[change.directory];
  for (auto& [directory, count] : pending) count = prng_.below(count + 1);
  for (const NameChange& change : name_changes_) {
    std::uint64_t& left = pending[change.directory];
    if (left == 0) continue;
    --left;
    apply(stable_names_, change);
  }
  name_changes_.clear();
  names_ = stable_names_;
}

void FileSystem::wipe() {
  ESC_ASSERT(handles_.empty());
  names_.clear();
  stable_names_.clear();
  name_changes_.clear();
  directories_ = {""};
  faults_.clear();
  capacity_ = UINT64_MAX;
}

void FileSystem::crash(CrashKind kind) {
  handles_.clear();
  if (kind == CrashKind::process) return;
  cut_names();
  for (auto& [path, inode] : names_) cut_power(*inode);
}

}  // namespace esc::sim
