#include "content/snapshot_file.h"

#include <string>

#include "absl/strings/match.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace backup::content {
namespace {

using testing::HasReason;

class SnapshotFileTest : public ::testing::Test {
 protected:
  static std::string Catalog(size_t size) {
    std::string catalog;
    while (catalog.size() < size) catalog += "a row, another row, and one more; ";
    for (size_t i = 0; i < catalog.size(); i += 5) catalog[i] = static_cast<char>(i * i >> 3);
    catalog.resize(size);
    return catalog;
  }
  std::string Take(const std::string& catalog) {
    StringSource source(catalog, 4096);
    SnapshotSource snapshot(source, absl::FromUnixMicros(1'700'000'000'123'456), 42, key_);
    std::string file = ReadAll(snapshot, size_t{64} << 20).value();
    footer_ = snapshot.footer();
    return file;
  }
  absl::StatusOr<std::string> Read(const std::string& file, const crypto::MasterKey& key) {
    StringSink sink;
    const absl::Status read = ReadSnapshot(StringAccess(file), key, sink);
    if (!read.ok()) return read;
    return sink.bytes();
  }

  const crypto::MasterKey key_{std::string(32, 'k')};
  SnapshotFooter footer_;
};

TEST_F(SnapshotFileTest, GivesBackWhatWasTaken) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{65536}, size_t{3} << 20}) {
    const std::string catalog = Catalog(size);
    const std::string file = Take(catalog);
    const auto read = Read(file, key_);
    ASSERT_OK(read);
    EXPECT_TRUE(*read == catalog) << size;
  }
}

TEST_F(SnapshotFileTest, SaysWhatItIs) {
  const std::string file = Take(Catalog(100'000));
  const auto footer = ReadSnapshotFooter(StringAccess(file));
  ASSERT_OK(footer);
  EXPECT_EQ(footer->time, absl::FromUnixMicros(1'700'000'000'123'456));
  EXPECT_EQ(footer->next_version_id, 42);
  EXPECT_EQ(footer->catalog_size, 100'000);
  EXPECT_LT(footer->compressed_size, footer->catalog_size);
  EXPECT_EQ(footer->sha256, footer_.sha256);
  EXPECT_EQ(footer->key_fingerprint, key_.Fingerprint());
  EXPECT_OK(CheckSnapshotKey(*footer, key_));
  EXPECT_TRUE(IsSnapshot(StringAccess(file)).value());
  EXPECT_FALSE(IsSnapshot(StringAccess("BKPPACK2")).value());
  EXPECT_FALSE(IsSnapshot(StringAccess("")).value());
}

TEST_F(SnapshotFileTest, HasNothingInPlain) {
  const std::string catalog = "a secret that zstd leaves as it is, since it stands here once";
  EXPECT_FALSE(absl::StrContains(Take(catalog), catalog.substr(2, 16)));
}

TEST_F(SnapshotFileTest, NoticesEveryByteThatIsChanged) {
  const std::string file = Take(Catalog(3000));
  for (size_t i = 0; i < file.size(); ++i) {
    std::string changed = file;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_THAT(Read(changed, key_).status(), HasReason(Reason::kBlobDamaged)) << i;
  }
}

TEST_F(SnapshotFileTest, NoticesEveryByteThatIsMissing) {
  const std::string file = Take(Catalog(1000));
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_THAT(Read(file.substr(0, size), key_).status(), HasReason(Reason::kBlobDamaged)) << size;
}

TEST_F(SnapshotFileTest, SaysThatItTakesAnotherKey) {
  const std::string file = Take(Catalog(1000));
  const crypto::MasterKey other(std::string(32, 'o'));
  const absl::Status read = Read(file, other).status();
  EXPECT_THAT(read, HasReason(Reason::kBlobDamaged));
  EXPECT_TRUE(absl::StrContains(read.message(), key_.Fingerprint())) << read;
  EXPECT_TRUE(absl::StrContains(read.message(), other.Fingerprint())) << read;
}

}  // namespace
}  // namespace backup::content
