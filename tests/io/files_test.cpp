#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "esc/io/posix_files.h"
#include "loop_fixture.h"

namespace esc::io::test {
namespace {

TEST(PosixFiles, lists_a_directory_sorted_by_name) {
  TemporaryDirectory directory;
  PosixFiles files;
  for (const char* name : {"c", "a", "b"}) {
    ASSERT_TRUE(write_file_atomically(files, directory / name, as_bytes(name)));
  }
  ASSERT_TRUE(files.make_directories(directory / "sub/deeper//still/"));
  const auto entries = files.list(directory.path());
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 4u);
  EXPECT_EQ((*entries)[0].name, "a");
  EXPECT_EQ((*entries)[0].bytes, 1u);
  EXPECT_EQ((*entries)[3].name, "sub");
  EXPECT_TRUE((*entries)[3].is_directory);
  EXPECT_TRUE(files.exists(directory / "sub/deeper/still").value());
  EXPECT_TRUE(files.make_directories(directory / "sub/deeper")) << "existing directories are fine";
}

TEST(PosixFiles, replaces_a_file_atomically_even_over_a_longer_leftover) {
  TemporaryDirectory directory;
  PosixFiles files;
  const std::string path = directory / "checkpoint";
  ASSERT_TRUE(write_file_atomically(files, path, as_bytes("old contents")));
  const auto leftover = files.open(path + ".tmp", {.write = true, .create = true});
  ASSERT_TRUE(leftover);
  ASSERT_TRUE(files.write(*leftover, 0, as_bytes(std::string(100, 'z'))));
  files.close(*leftover);
  ASSERT_TRUE(write_file_atomically(files, path, as_bytes("new")));
  const auto contents = read_whole_file(files, path, 100);
  ASSERT_TRUE(contents);
  EXPECT_EQ(as_text(*contents), "new");
  EXPECT_FALSE(files.exists(path + ".tmp").value());
}

TEST(PosixFiles, errors_name_the_path_and_the_reason) {
  TemporaryDirectory directory;
  PosixFiles files;
  const auto missing = files.open(directory / "missing", {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::not_found);
  EXPECT_NE(missing.error().message.find(directory / "missing"), std::string::npos);
  EXPECT_NE(missing.error().message.find("No such file"), std::string::npos);
  ASSERT_TRUE(write_file_atomically(files, directory / "big", as_bytes(std::string(1000, 'b'))));
  EXPECT_EQ(read_whole_file(files, directory / "big", 999).error().code, Errc::too_large);
  EXPECT_TRUE(read_whole_file(files, directory / "big", 1000));
  const Status below_a_file = files.make_directories(directory / "big/sub");
  ASSERT_FALSE(below_a_file);
  EXPECT_NE(below_a_file.error().message.find("Not a directory"), std::string::npos)
      << below_a_file.error().message;
  EXPECT_FALSE(files.exists(directory / "big/sub").value());
  const auto read_only = files.open(directory / "big", {});
  ASSERT_TRUE(read_only);
  const Status write = files.write(*read_only, 0, as_bytes("x"));
  ASSERT_FALSE(write);
  EXPECT_NE(write.error().message.find(directory / "big"), std::string::npos) << write.error().message;
  files.close(*read_only);
}

TEST(PosixFiles, reads_fewer_bytes_only_at_the_end) {
  TemporaryDirectory directory;
  PosixFiles files;
  const auto file = files.open(directory / "f", {.write = true, .create = true, .exclusive = true});
  ASSERT_TRUE(file);
  ASSERT_TRUE(files.write(*file, 10, as_bytes("tail")));
  EXPECT_EQ(files.size(*file).value(), 14u);
  std::string text(100, '?');
  EXPECT_EQ(files.read(*file, 8, {reinterpret_cast<std::byte*>(text.data()), text.size()}).value(), 6u);
  EXPECT_EQ(text.substr(0, 6), std::string("\0\0tail", 6));
  ASSERT_TRUE(files.truncate(*file, 11));
  ASSERT_TRUE(files.sync(*file));
  ASSERT_TRUE(files.sync_directory(directory.path()));
  EXPECT_EQ(files.read(*file, 100, {reinterpret_cast<std::byte*>(text.data()), text.size()}).value(), 0u);
  ASSERT_TRUE(files.rename(directory / "f", directory / "g"));
  ASSERT_TRUE(files.remove(directory / "g"));
  EXPECT_EQ(files.remove(directory / "g").error().code, Errc::not_found);
  files.close(*file);
}

}  // namespace
}  // namespace esc::io::test
