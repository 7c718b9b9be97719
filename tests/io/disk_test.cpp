#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <sys/stat.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "esc/io/posix_files.h"
#include "loop_fixture.h"

namespace esc::io::test {
namespace {

FileHandle open_file(UringLoop& loop, const std::string& path, OpenFlags flags) {
  DiskOp op;
  op.kind = DiskOp::Kind::open;
  op.path = path.c_str();
  op.flags = flags;
  run_op(loop, op);
  EXPECT_EQ(op.error, Errc::ok) << path << " errno " << op.os_error;
  return op.file;
}

void close_file(UringLoop& loop, FileHandle file) {
  DiskOp op;
  op.kind = DiskOp::Kind::close;
  op.file = file;
  run_op(loop, op);
  EXPECT_EQ(op.error, Errc::ok);
}

void set_transfer(DiskOp& op, DiskOp::Kind kind, FileHandle file, std::uint64_t offset, ByteSpan bytes) {
  op.kind = kind;
  op.file = file;
  op.offset = offset;
  op.buffer = bytes;
}

Errc on_path(UringLoop& loop, DiskOp::Kind kind, const std::string& path, const std::string& path2 = "") {
  DiskOp op;
  op.kind = kind;
  op.path = path.c_str();
  op.path2 = path2.c_str();
  return run_op(loop, op).error;
}

void expect_same(ByteView left, ByteView right) {
  ASSERT_EQ(left.size(), right.size());
  EXPECT_EQ(std::memcmp(left.data(), right.data(), left.size()), 0);
}

TEST(Disk, writes_and_reads_back_a_direct_file) {
  TemporaryDirectory directory;
  auto loop = make_loop();
  const FileHandle file =
      open_file(*loop, directory / "wal", {.write = true, .create = true, .direct_dsync = true});
  const AlignedBytes out(64 * kKiB, 3);
  DiskOp write;
  set_transfer(write, DiskOp::Kind::write, file, kBlockBytes, out.span());
  run_op(*loop, write);
  EXPECT_EQ(write.error, Errc::ok);
  EXPECT_EQ(write.transferred, out.span().size());
  const AlignedBytes in(64 * kKiB);
  DiskOp read;
  set_transfer(read, DiskOp::Kind::read, file, kBlockBytes, in.span());
  run_op(*loop, read);
  EXPECT_EQ(read.transferred, in.span().size());
  expect_same(in.span(), out.span());
  close_file(*loop, file);
}

TEST(Disk, writes_from_registered_memory_with_the_fixed_operation) {
  TemporaryDirectory directory;
  auto loop = make_loop();
  const AlignedBytes region(256 * kKiB, 5);
  loop->register_memory(region.span());
  const FileHandle file =
      open_file(*loop, directory / "wal", {.write = true, .create = true, .direct_dsync = true});
  DiskOp write;
  set_transfer(write, DiskOp::Kind::write, file, 0, region.span().subspan(8192, 16384));
  run_op(*loop, write);
  EXPECT_EQ(write.error, Errc::ok);
  EXPECT_EQ(loop->stats().disk_writes_fixed, 1u);
  PosixFiles files;
  const auto contents = read_whole_file(files, directory / "wal", kMiB);
  ASSERT_TRUE(contents);
  expect_same(*contents, region.span().subspan(8192, 16384));
  const AlignedBytes elsewhere(4096);
  set_transfer(write, DiskOp::Kind::write, file, 0, elsewhere.span());
  run_op(*loop, write);
  EXPECT_EQ(loop->stats().disk_writes_fixed, 1u);
  close_file(*loop, file);
}

TEST(Disk, gathers_pieces_and_stops_reading_at_the_end) {
  TemporaryDirectory directory;
  auto loop = make_loop();
  const FileHandle file = open_file(*loop, directory / "segment", {.write = true, .create = true});
  std::vector<std::string> texts = {"alpha", "", "beta", "gamma"};
  std::vector<iovec> pieces;
  for (std::string& text : texts) pieces.push_back({text.data(), text.size()});
  DiskOp write;
  write.kind = DiskOp::Kind::write;
  write.file = file;
  write.pieces = pieces;
  run_op(*loop, write);
  EXPECT_EQ(write.error, Errc::ok);
  EXPECT_EQ(write.transferred, 14u);
  std::string text(100, '\0');
  DiskOp read;
  set_transfer(read, DiskOp::Kind::read, file, 3, {reinterpret_cast<std::byte*>(text.data()), text.size()});
  run_op(*loop, read);
  EXPECT_EQ(read.error, Errc::ok);
  EXPECT_EQ(read.transferred, 11u);
  EXPECT_EQ(text.substr(0, 11), "habetagamma");
  close_file(*loop, file);
}

TEST(Disk, a_direct_read_across_an_unaligned_end_is_short_not_an_error) {
  TemporaryDirectory directory;
  PosixFiles files;
  ASSERT_TRUE(write_file_atomically(files, directory / "odd", as_bytes(std::string(5000, 'x'))));
  auto loop = make_loop();
  const FileHandle file = open_file(*loop, directory / "odd", {.direct_dsync = true});
  const AlignedBytes in(16 * kKiB);
  DiskOp read;
  set_transfer(read, DiskOp::Kind::read, file, 0, in.span());
  run_op(*loop, read);
  EXPECT_EQ(read.error, Errc::ok);
  EXPECT_EQ(read.transferred, 5000u);
  EXPECT_EQ(files.read(file, 0, in.span()).value(), 5000u);
  close_file(*loop, file);
}

TEST(Disk, does_metadata_operations) {
  TemporaryDirectory directory;
  auto loop = make_loop();
  EXPECT_EQ(on_path(*loop, DiskOp::Kind::make_dir, directory / "sub"), Errc::ok);
  EXPECT_EQ(on_path(*loop, DiskOp::Kind::make_dir, directory / "sub"), Errc::ok) << "existing is success";
  const FileHandle file =
      open_file(*loop, directory / "sub/a", {.write = true, .create = true, .exclusive = true});
  DiskOp again;
  again.kind = DiskOp::Kind::open;
  const std::string path = directory / "sub/a";
  again.path = path.c_str();
  again.flags = {.write = true, .create = true, .exclusive = true};
  EXPECT_EQ(run_op(*loop, again).error, Errc::already_exists);
  DiskOp truncate;
  truncate.kind = DiskOp::Kind::truncate;
  truncate.file = file;
  truncate.length = 12345;
  EXPECT_EQ(run_op(*loop, truncate).error, Errc::ok);
  PosixFiles files;
  EXPECT_EQ(files.size(file).value(), 12345u);
  DiskOp sync;
  sync.file = file;
  sync.kind = DiskOp::Kind::sync_range;
  sync.length = 12345;
  EXPECT_EQ(run_op(*loop, sync).error, Errc::ok);
  sync.kind = DiskOp::Kind::sync_data;
  EXPECT_EQ(run_op(*loop, sync).error, Errc::ok);
  close_file(*loop, file);
  EXPECT_EQ(on_path(*loop, DiskOp::Kind::rename, directory / "sub/a", directory / "sub/b"), Errc::ok);
  EXPECT_EQ(on_path(*loop, DiskOp::Kind::sync_dir, directory / "sub"), Errc::ok);
  EXPECT_FALSE(files.exists(directory / "sub/a").value());
  EXPECT_TRUE(files.exists(directory / "sub/b").value());
  EXPECT_EQ(on_path(*loop, DiskOp::Kind::remove, directory / "sub/b"), Errc::ok);
  EXPECT_EQ(on_path(*loop, DiskOp::Kind::remove, directory / "sub/b"), Errc::not_found);
  EXPECT_EQ(on_path(*loop, DiskOp::Kind::sync_dir, directory / "nothing"), Errc::not_found);
}

TEST(Disk, a_punched_range_reads_as_zeroes_and_takes_no_space) {
  TemporaryDirectory directory;
  auto loop = make_loop();
  const FileHandle file =
      open_file(*loop, directory / "a", {.write = true, .create = true, .direct = true, .random = true});
  const AlignedBytes bytes(64 * kKiB);
  std::memset(bytes.span().data(), 7, bytes.span().size());
  DiskOp op;
  set_transfer(op, DiskOp::Kind::write, file, 0, bytes.span());
  ASSERT_EQ(run_op(*loop, op).error, Errc::ok);
  op = DiskOp{};
  op.kind = DiskOp::Kind::sync_data;
  op.file = file;
  ASSERT_EQ(run_op(*loop, op).error, Errc::ok);
  struct stat before{};
  ASSERT_EQ(::fstat(file.fd, &before), 0);
  op = DiskOp{};
  op.kind = DiskOp::Kind::punch;
  op.file = file;
  op.offset = 16 * kKiB;
  op.length = 1 * kMiB;  // beyond the end
  ASSERT_EQ(run_op(*loop, op).error, Errc::ok);
  struct stat after{};
  ASSERT_EQ(::fstat(file.fd, &after), 0);
  EXPECT_EQ(after.st_size, before.st_size);
  EXPECT_LT(after.st_blocks, before.st_blocks);
  set_transfer(op, DiskOp::Kind::read, file, 0, bytes.span());
  ASSERT_EQ(run_op(*loop, op).error, Errc::ok);
  EXPECT_EQ(bytes.span()[16 * kKiB - 1], std::byte{7});
  EXPECT_EQ(bytes.span()[16 * kKiB], std::byte{0});
  EXPECT_EQ(bytes.span().back(), std::byte{0});
  close_file(*loop, file);
}

TEST(Disk, a_bad_descriptor_is_an_error_with_its_number) {
  auto loop = make_loop();
  const AlignedBytes bytes(4096);
  DiskOp op;
  set_transfer(op, DiskOp::Kind::write, FileHandle{9999}, 0, bytes.span());
  run_op(*loop, op);
  EXPECT_EQ(op.error, Errc::io_error);
  EXPECT_EQ(op.os_error, EBADF);
  op.kind = DiskOp::Kind::sync_data;
  EXPECT_EQ(run_op(*loop, op).os_error, EBADF);
  op.kind = DiskOp::Kind::truncate;
  op.length = 1;
  EXPECT_EQ(run_op(*loop, op).os_error, EBADF);
  EXPECT_EQ(loop->disk_writes_in_flight(), 0u);
  EXPECT_EQ(loop->stats().disk_errors, 3u);
}

TEST(Disk, misaligned_direct_writes_are_refused_by_the_kernel) {
  TemporaryDirectory directory;
  auto loop = make_loop();
  const FileHandle file =
      open_file(*loop, directory / "wal", {.write = true, .create = true, .direct_dsync = true});
  const AlignedBytes bytes(8192);
  DiskOp op;
  set_transfer(op, DiskOp::Kind::write, file, 100, bytes.span().first(4096));
  run_op(*loop, op);
  EXPECT_EQ(op.error, Errc::invalid_argument);
  close_file(*loop, file);
}

// Many more operations than the kernel gets at once; each resubmits itself from `done` a few times.
TEST(Disk, keeps_a_long_line_of_operations_within_its_bound) {
  TemporaryDirectory directory;
  LoopOptions options;
  options.submission_entries = 8;
  options.disk_ops_max = 16;
  auto loop = make_loop(options);
  const FileHandle file = open_file(*loop, directory / "data", {.write = true, .create = true});
  struct Writer {
    DiskOp op;
    UringLoop* loop = nullptr;
    int left = 3;
    std::uint64_t value = 0;
  };
  std::vector<std::unique_ptr<Writer>> writers;
  for (std::uint64_t i = 0; i < 200; ++i) {
    writers.push_back(std::make_unique<Writer>());
    Writer& writer = *writers.back();
    writer.loop = loop.get();
    writer.value = i;
    set_transfer(writer.op, DiskOp::Kind::write, file, i * 8,
                 {reinterpret_cast<std::byte*>(&writer.value), sizeof writer.value});
    writer.op.context = &writer;
    writer.op.done = [](DiskOp& op) {
      auto& self = *static_cast<Writer*>(op.context);
      EXPECT_EQ(op.error, Errc::ok);
      if (--self.left > 0) self.loop->submit(op);
    };
    loop->submit(writer.op);
  }
  EXPECT_EQ(loop->disk_ops_in_flight(), 200u);
  EXPECT_LE(loop->disk_writes_in_flight(), 16u);
  ASSERT_TRUE(run_until(*loop, [&] { return loop->disk_ops_in_flight() == 0; }));
  EXPECT_GE(loop->stats().disk_ops_delayed, 184u);
  PosixFiles files;
  const auto contents = read_whole_file(files, directory / "data", kMiB);
  ASSERT_TRUE(contents);
  ASSERT_EQ(contents->size(), 1600u);
  for (std::uint64_t i = 0; i < 200; ++i) EXPECT_EQ(load_le<std::uint64_t>(contents->data() + i * 8), i);
  close_file(*loop, file);
}

// A tmpfs of 64 KiB; needs root.
class SmallFilesystem {
 public:
  SmallFilesystem() {
    mounted_ = ::geteuid() == 0 && ::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, "size=64k") == 0;
  }
  SmallFilesystem(const SmallFilesystem&) = delete;
  SmallFilesystem& operator=(const SmallFilesystem&) = delete;
  ~SmallFilesystem() {
    if (mounted_) ::umount2(directory_.path().c_str(), MNT_DETACH);
  }
  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return directory_ / name; }

 private:
  TemporaryDirectory directory_;
  bool mounted_ = false;
};

TEST(Disk, a_full_filesystem_is_no_space_after_what_fitted) {
  SmallFilesystem filesystem;
  if (!filesystem.mounted()) GTEST_SKIP() << "mounting a tmpfs needs root";
  auto loop = make_loop();
  const FileHandle file = open_file(*loop, filesystem / "data", {.write = true, .create = true});
  const AlignedBytes bytes(256 * kKiB);
  DiskOp op;
  set_transfer(op, DiskOp::Kind::write, file, 0, bytes.span());
  run_op(*loop, op);
  EXPECT_EQ(op.error, Errc::no_space);
  EXPECT_EQ(op.os_error, ENOSPC);
  EXPECT_GT(op.transferred, 0u);
  EXPECT_LT(op.transferred, bytes.span().size());
  // The same with a gather list, which has to be continued in the middle of a piece.
  std::vector<iovec> pieces;
  for (std::size_t i = 0; i < 64; ++i) pieces.push_back({bytes.span().data() + i * 4000, 4000});
  DiskOp gather;
  gather.kind = DiskOp::Kind::write;
  gather.file = file;
  gather.pieces = pieces;
  run_op(*loop, gather);
  EXPECT_EQ(gather.error, Errc::no_space);
  PosixFiles files;
  EXPECT_EQ(files.write(file, 0, bytes.span()).error().code, Errc::no_space);
  const Status status = write_file_atomically(files, filesystem / "other", bytes.span());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::no_space);
  EXPECT_FALSE(files.exists(filesystem / "other").value());
  EXPECT_FALSE(files.exists(filesystem / "other.tmp").value());
  close_file(*loop, file);
}

// Refused by a tmpfs, by every file system before Linux 6.14, and by all writes that were on their way.
TEST(Disk, several_uncached_writes_at_once_succeed_where_the_kernel_knows_none) {
  SmallFilesystem filesystem;
  if (!filesystem.mounted()) GTEST_SKIP() << "mounting a tmpfs needs root";
  auto loop = make_loop();
  const FileHandle file = open_file(*loop, filesystem / "data", {.write = true, .create = true});
  const AlignedBytes out(16 * kKiB, 7);
  std::array<DiskOp, 4> writes;
  for (std::size_t i = 0; i < writes.size(); ++i) {
    set_transfer(writes[i], DiskOp::Kind::write, file, i * 4096, out.span().subspan(i * 4096, 4096));
    writes[i].uncached = true;
    writes[i].done = [](DiskOp&) {};
    loop->submit(writes[i]);
  }
  ASSERT_TRUE(run_until(*loop, [&] { return loop->disk_ops_in_flight() == 0; }));
  for (const DiskOp& op : writes) EXPECT_EQ(op.error, Errc::ok) << "errno " << op.os_error;
  PosixFiles files;
  const auto contents = read_whole_file(files, filesystem / "data", kMiB);
  ASSERT_TRUE(contents);
  expect_same(*contents, out.span());
  close_file(*loop, file);
}

}  // namespace
}  // namespace esc::io::test
