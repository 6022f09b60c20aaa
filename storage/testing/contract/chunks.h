#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "storage/testing/contract/fixture.h"

namespace backup::storage {

using testing::HasReason;
using testing::IsOkAndHolds;

// What the groups about content in chunks share. Chunks are named by the first byte of their id.
class CatalogChunks : public CatalogContract {
 protected:
  static constexpr int64_t kChunkSize = 200'000;
  static constexpr int64_t kStoredSize = 100'000;
  static constexpr int64_t kFooterSize = 500;

  static ChunkRef Ref(uint8_t chunk) { return {IdOf<ChunkId>(chunk), kChunkSize}; }
  static std::vector<ChunkRef> Refs(const std::vector<uint8_t>& chunks) {
    std::vector<ChunkRef> refs;
    for (const uint8_t chunk : chunks) refs.push_back(Ref(chunk));
    return refs;
  }
  static NewPack Pack(uint8_t blob, const std::vector<uint8_t>& chunks, bool waits = false) {
    NewPack pack;
    pack.blob_id = IdOf<BlobId>(blob);
    pack.form = StorageForm::kSealed;
    pack.wrapped_key = std::string("k\0y", 3) + static_cast<char>(blob);
    int64_t& end = pack.size_bytes;
    for (const uint8_t chunk : chunks) {
      pack.chunks.push_back({IdOf<ChunkId>(chunk), kChunkSize, end, kStoredSize,
                             static_cast<int>(pack.chunks.size()),
                             waits ? ChunkCoding::kRaw : ChunkCoding::kZstd, waits});
      end += kStoredSize;
    }
    end += kFooterSize;
    pack.footer_bytes = kFooterSize;
    return pack;
  }
  static NewChunks Content(const std::vector<uint8_t>& recipe,
                           const std::vector<NewPack>& packs = {}) {
    NewChunks content;
    content.packs = packs;
    content.recipe = Refs(recipe);
    return content;
  }
  static NewChunks Small(uint8_t chunk, const std::string& payload) {
    NewChunks content;
    content.inlined = {{Ref(chunk), StorageForm::kSealed, ChunkCoding::kZstd, payload}};
    content.recipe = Refs({chunk});
    return content;
  }

  // Packs become pending first.
  void MakePending(const NewChunks& content) {
    for (const NewPack& pack : content.packs) ASSERT_OK(AddPending(pack.blob_id));
  }
  absl::StatusOr<Version> TryAdd(const std::string& file_name, const NewChunks& content) {
    MakePending(content);
    return AddVersion(MakeVersion(client_, file_name), content);
  }
  Version AddChunks(const std::string& file_name, const NewChunks& content) {
    return TryAdd(file_name, content).value();
  }
  void Delete(const Version& version) {
    ASSERT_OK(RemoveVersion(version.client_id, version.file_name, version.version_id));
  }
  int64_t Release(int limit = 1000) {
    return Run([&](Transaction& transaction) { return transaction.ReleaseRecipes(limit); }).value();
  }
  ChunkList ListOf(const Version& version) {
    return std::get<ChunkList>(
        FindVersion(version.client_id, version.file_name, version.version_id)->content);
  }
  absl::StatusOr<std::vector<StoredChunk>> ListChunks(const ChunkList& content, int64_t offset = 0,
                                                      int limit = 1000) {
    return Read([&](Snapshot& snapshot) { return snapshot.ListChunks(content, offset, limit); });
  }
  std::vector<StoredChunk> ChunksOf(const Version& version) {
    return ListChunks(ListOf(version)).value();
  }
  std::optional<StoredChunk> Find(uint8_t chunk) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindChunk(IdOf<ChunkId>(chunk)); })
        .value();
  }
  bool IsOffered(uint8_t chunk) { return Find(chunk).has_value(); }
  void MarkDamaged(const StoredChunk& chunk) {
    ASSERT_OK(Run([&](Transaction& transaction) {
      return transaction.MarkDamaged(chunk.number, chunk.pack);
    }));
  }
  std::vector<PackInfo> Packs(int64_t after = 0, int limit = 1000) {
    return Read([&](Snapshot& snapshot) { return snapshot.ListPacks(after, limit); }).value();
  }
  PackInfo PackOf(uint8_t blob) {
    for (PackInfo& pack : Packs()) {
      if (pack.blob_id == IdOf<BlobId>(blob)) return pack;
    }
    ADD_FAILURE() << "there is no pack " << static_cast<int>(blob);
    return {};
  }
  BlobUse UseOfPack(uint8_t blob) { return UseOf(IdOf<BlobId>(blob)); }
  int64_t KeptBytes() { return FindClient(client_)->kept_bytes; }
  // What Count() says of chunks and packs, which must agree with what they say themselves.
  void ExpectCounts(int64_t chunks, int64_t packs) {
    const Counts counts = Count();
    EXPECT_EQ(counts.chunks, chunks);
    EXPECT_EQ(counts.unique_bytes, chunks * kChunkSize);
    EXPECT_EQ(counts.packs, packs);
    int64_t bytes = 0;
    int64_t live = 0;
    int64_t waiting = 0;
    for (const PackInfo& pack : Packs()) {
      bytes += pack.size_bytes;
      live += pack.live_bytes;
      waiting += pack.waiting_bytes;
    }
    EXPECT_EQ(counts.pack_bytes, bytes);
    EXPECT_EQ(counts.pack_live_bytes, live);
    EXPECT_EQ(counts.waiting_bytes, waiting);
  }

  const ClientId client_ = Register("name", 1).id;
};

// In the catalog.

TEST_P(CatalogChunks, OfSmallContentAreSharedAndGoWithTheLastReference) {
  const Version first = AddChunks("a", Small(1, "payload"));
  EXPECT_EQ(KeptBytes(), 7);
  const Version second = AddChunks("b", Small(1, "another form of it"));
  EXPECT_EQ(KeptBytes(), 7);
  ExpectCounts(1, 0);
  EXPECT_EQ(Count().compressed_bytes, 7);
  EXPECT_EQ(ListOf(first), ListOf(second));
  const StoredChunk chunk = ChunksOf(second).at(0);
  EXPECT_EQ(chunk.payload, "payload");
  EXPECT_EQ(chunk.ref, Ref(1));
  EXPECT_EQ(chunk.form, StorageForm::kSealed);
  EXPECT_EQ(chunk.coding, ChunkCoding::kZstd);
  EXPECT_EQ(chunk.stored_size, 7);
  EXPECT_EQ(chunk.refs, 2);
  EXPECT_EQ(chunk.pack, 0);
  // Nobody may count on it who does not bring it.
  EXPECT_FALSE(IsOffered(1));
  Delete(first);
  EXPECT_EQ(KeptBytes(), 0);
  EXPECT_EQ(ChunksOf(second).at(0).refs, 1);
  Delete(second);
  ExpectCounts(0, 0);
  EXPECT_EQ(Count().compressed_bytes, 0);
  EXPECT_THAT(TryAdd("c", Content({1})), HasReason(Reason::kBackendDown));
}

TEST_P(CatalogChunks, OfSmallContentsAreListedInOrder) {
  const auto list = [&](int64_t after, int limit) {
    return Read([&](Snapshot& snapshot) { return snapshot.ListInlineChunks(after, limit); })
        .value();
  };
  const auto last = [&] {
    return Read([](Snapshot& snapshot) { return snapshot.LastInlineChunk(); }).value();
  };
  EXPECT_TRUE(list(0, 10).empty());
  EXPECT_EQ(last(), 0);
  AddChunks("a", Small(1, "first"));
  AddChunks("b", Content({2}, {Pack(10, {2})}));
  const Version second = AddChunks("c", Small(3, "second"));
  AddChunks("d", Content({4}, {Pack(11, {4})}));
  ASSERT_EQ(list(0, 10).size(), 2);
  const StoredChunk chunk = list(0, 10).back();
  EXPECT_EQ(chunk.ref, Ref(3));
  EXPECT_EQ(chunk.payload, "second");
  EXPECT_EQ(chunk.form, StorageForm::kSealed);
  EXPECT_EQ(chunk.pack, 0);
  EXPECT_EQ(last(), chunk.number);
  ASSERT_EQ(list(0, 1).size(), 1);
  EXPECT_EQ(list(0, 1).front().payload, "first");
  ASSERT_EQ(list(list(0, 1).front().number, 10).size(), 1);
  EXPECT_TRUE(list(chunk.number, 10).empty());
  Delete(second);
  EXPECT_EQ(last(), list(0, 10).back().number);
}

TEST_P(CatalogChunks, AreNoneOfAnEmptyFile) {
  const Version empty = AddChunks("empty", NewChunks());
  EXPECT_EQ(FindVersion(client_, "empty", empty.version_id)->content,
            storage::Content(ChunkList()));
  EXPECT_TRUE(ChunksOf(empty).empty());
  EXPECT_EQ(Count().unmoved_versions, 0);
  Delete(empty);
  EXPECT_EQ(Count().dropped_recipes, 0);
}

TEST_P(CatalogChunks, ThatCannotBeReadAreStoredAgainAndHealAllWhoReferToThem) {
  const Version first = AddChunks("a", Small(1, "damaged"));
  StoredChunk chunk = ChunksOf(first).at(0);
  chunk.pack = 7;
  MarkDamaged(chunk);
  EXPECT_FALSE(ChunksOf(first).at(0).is_damaged) << "it is not in that pack";
  chunk.pack = 0;
  MarkDamaged(chunk);
  MarkDamaged(chunk);
  EXPECT_TRUE(ChunksOf(first).at(0).is_damaged);
  EXPECT_THAT(TryAdd("b", Content({1})), HasReason(Reason::kBackendDown));
  const Version second = AddChunks("b", Small(1, "whole again"));
  EXPECT_EQ(ChunksOf(first).at(0).payload, "whole again");
  EXPECT_FALSE(ChunksOf(first).at(0).is_damaged);
  EXPECT_EQ(ChunksOf(first).at(0).number, chunk.number);
  EXPECT_EQ(Count().compressed_bytes, 11);
  EXPECT_EQ(KeptBytes(), 7 + 11);
}

// In packs.

TEST_P(CatalogChunks, OfAPackAreFoundWithTheirPlace) {
  const Version version = AddChunks("file", Content({1, 2}, {Pack(10, {1, 2}, /*waits=*/true)}));
  EXPECT_EQ(UseOfPack(10), BlobUse::kReferenced);
  EXPECT_EQ(KeptBytes(), 2 * kStoredSize);
  ExpectCounts(2, 1);
  EXPECT_EQ(Count().waiting_bytes, 2 * kStoredSize);
  EXPECT_EQ(Count().compressed_bytes, 2 * kStoredSize);
  const StoredChunk chunk = *Find(2);
  EXPECT_EQ(chunk.ref, Ref(2));
  EXPECT_EQ(chunk.pack, PackOf(10).pack);
  EXPECT_EQ(chunk.pack_blob, IdOf<BlobId>(10));
  EXPECT_EQ(chunk.wrapped_key, Pack(10, {}).wrapped_key);
  EXPECT_EQ(chunk.form, StorageForm::kSealed);
  EXPECT_EQ(chunk.coding, ChunkCoding::kRaw);
  EXPECT_TRUE(chunk.waits);
  EXPECT_EQ(chunk.offset, kStoredSize);
  EXPECT_EQ(chunk.stored_size, kStoredSize);
  EXPECT_EQ(chunk.index, 1);
  EXPECT_EQ(chunk.refs, 1);
  EXPECT_FALSE(IsOffered(3));
  EXPECT_EQ(ChunksOf(version).at(1).number, chunk.number);
}

// As long as its key is at hand, a small content refers to what a pack has; else it brings its own.
TEST_P(CatalogChunks, ThatComeInlineTakeThePlaceOfThoseInAPackWhoseKeyIsNotAtHand) {
  const Version large = AddChunks("large", Content({1, 2}, {Pack(10, {1, 2})}));
  std::string asked;
  bool has_key = true;
  NewChunks small = Small(1, "inline!");
  small.inlined[0].has_pack_key = [&](absl::string_view wrapped_key, const BlobId& pack) {
    asked = absl::StrCat(wrapped_key, " ", pack.bytes());
    return has_key;
  };
  AddChunks("a", small);
  EXPECT_EQ(asked, absl::StrCat(Pack(10, {}).wrapped_key, " ", IdOf<BlobId>(10).bytes()));
  EXPECT_EQ(ChunksOf(large).at(0).pack, PackOf(10).pack);
  EXPECT_EQ(PackOf(10).live_bytes, 2 * kStoredSize);
  has_key = false;
  const int64_t before = KeptBytes();
  const Version second = AddChunks("b", small);
  EXPECT_EQ(KeptBytes(), before + 7);
  for (const Version& version : {large, second}) {
    EXPECT_EQ(ChunksOf(version).at(0).pack, 0);
    EXPECT_EQ(ChunksOf(version).at(0).payload, "inline!");
  }
  EXPECT_EQ(PackOf(10).live_bytes, kStoredSize);
  ExpectCounts(2, 1);
  // What is inline already needs no key.
  asked.clear();
  AddChunks("c", small);
  EXPECT_EQ(asked, "");
  // The last chunk that leaves a pack takes it along.
  NewChunks other = Small(2, "the other");
  other.inlined[0].has_pack_key = small.inlined[0].has_pack_key;
  AddChunks("d", other);
  ExpectCounts(2, 0);
  EXPECT_EQ(UseOfPack(10), BlobUse::kDropped);
}

TEST_P(CatalogChunks, WithoutAReferenceStayAndMayBeReferredToAgain) {
  Delete(AddChunks("file", Content({1}, {Pack(10, {1})})));
  ExpectCounts(0, 1);
  EXPECT_EQ(PackOf(10).live_bytes, 0);
  EXPECT_EQ(Find(1)->refs, 0);
  AddChunks("file", Content({1}));
  ExpectCounts(1, 1);
  EXPECT_EQ(PackOf(10).live_bytes, kStoredSize);
  EXPECT_EQ(KeptBytes(), 0);
}

TEST_P(CatalogChunks, ThatComeTwiceStayWhereTheyAre) {
  AddChunks("a", Content({1, 2}, {Pack(10, {1, 2})}));
  // Of the second pack only chunk 3 is needed; the third is garbage alone.
  AddChunks("b", Content({1, 3}, {Pack(11, {1, 3})}));
  AddChunks("c", Content({1, 2}, {Pack(12, {2, 1})}));
  EXPECT_EQ(Find(1)->pack_blob, IdOf<BlobId>(10));
  EXPECT_EQ(Find(3)->pack_blob, IdOf<BlobId>(11));
  EXPECT_EQ(PackOf(11).live_bytes, kStoredSize);
  EXPECT_EQ(UseOfPack(12), BlobUse::kDropped);
  EXPECT_EQ(KeptBytes(), 3 * kStoredSize);
  ExpectCounts(3, 2);
  // In one content, too.
  AddChunks("d", Content({4, 5, 4}, {Pack(13, {4, 4}), Pack(14, {4, 5})}));
  EXPECT_EQ(Find(4)->pack_blob, IdOf<BlobId>(13));
  EXPECT_EQ(Find(4)->refs, 2);
  EXPECT_EQ(Find(5)->pack_blob, IdOf<BlobId>(14));
}

TEST_P(CatalogChunks, OfAPackThatNobodyRefersToYetAreThere) {
  AddChunks("a", Content({1}, {Pack(10, {1, 2})}));
  EXPECT_EQ(PackOf(10).live_bytes, kStoredSize);
  AddChunks("b", Content({2}));
  EXPECT_EQ(PackOf(10).live_bytes, 2 * kStoredSize);
}

TEST_P(CatalogChunks, ThatAreDamagedTakeTheirNewPlaceAndLeaveTheOldPack) {
  const Version first = AddChunks("a", Content({1, 2}, {Pack(10, {1, 2})}));
  MarkDamaged(*Find(1));
  EXPECT_FALSE(IsOffered(1));
  ExpectCounts(2, 1);
  AddChunks("b", Content({1}, {Pack(11, {1})}));
  EXPECT_EQ(Find(1)->pack_blob, IdOf<BlobId>(11));
  EXPECT_EQ(ChunksOf(first).at(0).pack_blob, IdOf<BlobId>(11));
  EXPECT_EQ(PackOf(10).live_bytes, kStoredSize);
  ExpectCounts(2, 2);
  MarkDamaged(*Find(2));
  AddChunks("c", Content({2}, {Pack(12, {2}, /*waits=*/true)}));
  EXPECT_EQ(UseOfPack(10), BlobUse::kDropped);
  EXPECT_EQ(PackOf(12).waiting_bytes, kStoredSize);
  ExpectCounts(2, 2);
}

TEST_P(CatalogChunks, MoveBetweenThePacksAndTheCatalog) {
  const Version first = AddChunks("a", Small(1, "damaged"));
  MarkDamaged(ChunksOf(first).at(0));
  AddChunks("b", Content({1}, {Pack(10, {1})}));
  EXPECT_EQ(ChunksOf(first).at(0).pack_blob, IdOf<BlobId>(10));
  EXPECT_EQ(ChunksOf(first).at(0).payload, "");
  ExpectCounts(1, 1);
  AddChunks("c", Small(1, "not needed"));
  EXPECT_EQ(ChunksOf(first).at(0).refs, 3);
  MarkDamaged(*Find(1));
  AddChunks("d", Small(1, "payload"));
  EXPECT_EQ(ChunksOf(first).at(0).payload, "payload");
  EXPECT_EQ(UseOfPack(10), BlobUse::kDropped);
  ExpectCounts(1, 0);
}

TEST_P(CatalogChunks, ThatAreNotThereMakeNoVersionAndChangeNothing) {
  AddChunks("a", Content({1, 2}, {Pack(10, {1, 2})}));
  MarkDamaged(*Find(2));
  const Version version = MakeVersion(client_, "b");
  const auto try_add = [&](const NewChunks& content) {
    return Run([&](Transaction& transaction) -> absl::Status {
      EXPECT_THAT(transaction.AddVersion(version, content, {}), HasReason(Reason::kBackendDown));
      return absl::OkStatus();
    });
  };
  ASSERT_OK(AddPending(IdOf<BlobId>(11)));
  EXPECT_OK(try_add(Content({3})));
  EXPECT_OK(try_add(Content({2})));
  EXPECT_OK(try_add(Content({1, 4, 5}, {Pack(11, {4})})));
  EXPECT_OK(try_add(Content({4, 5}, {Pack(11, {4}), Pack(12, {5})})));
  EXPECT_EQ(UseOfPack(11), BlobUse::kPending);
  EXPECT_FALSE(IsOffered(4));
  EXPECT_EQ(Find(1)->refs, 1);
  EXPECT_EQ(Count().versions, 1);
  ExpectCounts(2, 1);
}

TEST_P(CatalogChunks, OfAnUploadThatWasThereAlreadyAreDropped) {
  const Version first = MakeVersion(client_, "file", IdOf<UploadId>(1));
  const NewChunks content = Content({1, 2}, {Pack(10, {1, 2})});
  MakePending(content);
  ASSERT_OK(AddVersion(first, content));
  const NewChunks again = Content({1, 2}, {Pack(11, {1, 2})});
  MakePending(again);
  EXPECT_EQ(AddVersion(MakeVersion(client_, "file", IdOf<UploadId>(1)), again)->version_id,
            first.version_id);
  EXPECT_EQ(UseOfPack(11), BlobUse::kDropped);
  // The same once more, as after a commit of which nobody knows whether it succeeded.
  EXPECT_OK(AddVersion(first, content));
  EXPECT_EQ(UseOfPack(10), BlobUse::kReferenced);
  EXPECT_EQ(Find(1)->refs, 1);
  EXPECT_EQ(ChunksOf(first).size(), 2u);
}

TEST_P(CatalogChunks, LoseTheirReferencesInTheTransactionThatEndsThem) {
  const std::vector<std::function<absl::Status(Transaction&, const Version&)>> ends = {
      [](Transaction& transaction, const Version& version) {
        return transaction
            .SettleVersion({version.client_id, version.file_name, std::nullopt, Outcome::kRetrying},
                           At(3))
            .status();
      },
      [](Transaction& transaction, const Version& version) {
        return transaction
            .SettleVersion(
                {version.client_id, version.file_name, std::nullopt, Outcome::kAbandoned}, At(3))
            .status();
      },
      [](Transaction& transaction, const Version& version) {
        return transaction.DeleteVersion(version.client_id, version.file_name, version.version_id,
                                         kForGood);
      },
      [](Transaction& transaction, const Version& version) {
        return RemoveClient(transaction, version.client_id);
      }};
  uint8_t number = 100;
  for (const auto& end : ends) {
    ++number;
    const ClientId client = Register(absl::StrCat("client ", number), number).id;
    const auto check = [&](const NewChunks& content, const std::function<void()>& expect_end) {
      MakePending(content);
      const Version version = AddVersion(MakeVersion(client, "file"), content).value();
      EXPECT_THAT(Run([&](Transaction& transaction) -> absl::Status {
                    RETURN_IF_ERROR(end(transaction, version));
                    return absl::AbortedError("on purpose");
                  }),
                  testing::StatusIs(absl::StatusCode::kAborted));
      EXPECT_FALSE(ChunksOf(version).empty());
      EXPECT_EQ(Count().dropped_recipes, 0);
      EXPECT_OK(Run([&](Transaction& transaction) { return end(transaction, version); }));
      expect_end();
      ExpectCounts(0, Count().packs);
      const auto left = FindClient(client);
      if (left.ok()) {
        EXPECT_EQ(left->kept_bytes, 0);
      } else {
        Register(absl::StrCat("client ", number), number);  // For the next content.
      }
    };
    check(Small(1, "payload"), [&] { EXPECT_EQ(Count().compressed_bytes, 0); });
    check(Content({number}, {Pack(number, {number})}), [&] { EXPECT_EQ(Find(number)->refs, 0); });
    check(Content({number, number}), [&] {
      EXPECT_EQ(Count().dropped_recipes, 1);
      EXPECT_EQ(Find(number)->refs, 2);
      EXPECT_EQ(Release(), 2);
      EXPECT_EQ(Count().dropped_recipes, 0);
    });
  }
}

// Old content.

TEST_P(CatalogChunks, TakeThePlaceOfOldContent) {
  const Version in_catalog = Add(client_, "small", std::string("bytes"));
  const Version in_blob = Add(client_, "large", Blob(IdOf<BlobId>(1)));
  Version clients = MakeVersion(client_, "client's");
  clients.form = StorageForm::kClientFormat;
  ASSERT_OK(AddVersion(clients, std::string("ciphertext")));
  AddChunks("new", Small(9, "new"));
  Add(client_, "given up");
  Settle(client_, "given up", Outcome::kAbandoned);
  const auto unmoved = [&](int64_t after, int limit) {
    std::vector<int64_t> ids;
    const auto listed =
        Read([&](Snapshot& snapshot) { return snapshot.ListUnmovedVersions(after, limit); });
    for (const StoredVersion& version : listed.value()) ids.push_back(version.version.version_id);
    return ids;
  };
  const auto replace = [&](int64_t version_id, const storage::Content& old,
                           const NewContent& content) {
    return Run([&](Transaction& transaction) {
      return transaction.ReplaceContent(version_id, old, content);
    });
  };
  const storage::Content bytes = std::string("bytes");
  const storage::Content blob = IdOf<BlobId>(1);
  EXPECT_THAT(unmoved(0, 9), ::testing::ElementsAre(in_catalog.version_id, in_blob.version_id));
  EXPECT_THAT(unmoved(0, 1), ::testing::ElementsAre(in_catalog.version_id));
  EXPECT_THAT(unmoved(in_catalog.version_id, 9), ::testing::ElementsAre(in_blob.version_id));
  EXPECT_EQ(Count().unmoved_versions, 2);
  EXPECT_EQ(KeptBytes(), 5 + kBlobSize + 10 + 3);

  // Neither is what has become something else.
  EXPECT_THAT(replace(in_catalog.version_id, std::string("other"), Small(1, "payload")),
              IsOkAndHolds(false));
  EXPECT_THAT(replace(in_catalog.version_id, blob, Small(1, "payload")), IsOkAndHolds(false));
  EXPECT_THAT(replace(in_catalog.version_id, bytes, Small(1, "payload")), IsOkAndHolds(true));
  const NewChunks packed = Content({2, 3}, {Pack(10, {2, 3})});
  EXPECT_THAT(replace(in_blob.version_id, blob, packed), HasReason(Reason::kBackendDown));
  EXPECT_EQ(UseOf(IdOf<BlobId>(1)), BlobUse::kReferenced);
  MakePending(packed);
  EXPECT_THAT(replace(in_blob.version_id, blob, packed), IsOkAndHolds(true));
  EXPECT_EQ(UseOf(IdOf<BlobId>(1)), BlobUse::kDropped);
  EXPECT_EQ(ChunksOf(in_catalog).at(0).payload, "payload");
  EXPECT_EQ(ChunksOf(in_blob).size(), 2u);
  EXPECT_THAT(unmoved(0, 9), ::testing::IsEmpty());
  EXPECT_EQ(Count().unmoved_versions, 0);
  EXPECT_EQ(Count().blob_bytes, 0);
  EXPECT_EQ(KeptBytes(), 7 + 2 * kStoredSize + 10 + 3);

  // What is in chunks, or gone, is not replaced.
  uint8_t pack = 10;
  for (const int64_t version : {in_blob.version_id, int64_t{12345}}) {
    const NewChunks again = Content({2, 3}, {Pack(++pack, {2, 3})});
    MakePending(again);
    EXPECT_THAT(replace(version, blob, again), IsOkAndHolds(false));
    EXPECT_EQ(UseOfPack(pack), BlobUse::kDropped);
  }
  EXPECT_EQ(Find(2)->refs, 1);
}

// Values of the store.

TEST_P(CatalogChunks, HaveValuesOfTheStoreBesideThemThatTheFirstSets) {
  const auto add = [&](const std::string& name, const std::string& value) {
    return Run([&](Transaction& transaction) { return transaction.AddStoreValue(name, value); });
  };
  const auto find = [&](const std::string& name) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindStoreValue(name); }).value();
  };
  const std::string value("v\0lue", 5);
  EXPECT_EQ(find("name"), std::nullopt);
  EXPECT_THAT(add("name", value), IsOkAndHolds(value));
  EXPECT_THAT(add("name", "other"), IsOkAndHolds(value));
  EXPECT_THAT(add("empty", ""), IsOkAndHolds(""));
  EXPECT_EQ(find("name"), value);
  EXPECT_EQ(find("empty"), "");
}

TEST_P(CatalogChunks, HaveValuesOfTheStoreBesideThemThatMayBeReplaced) {
  const auto set = [&](const std::string& name, const std::string& value) {
    return Run([&](Transaction& transaction) { return transaction.SetStoreValue(name, value); });
  };
  const auto find = [&](const std::string& name) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindStoreValue(name); }).value();
  };
  ASSERT_OK(set("name", "first"));
  ASSERT_OK(set("other", ""));
  EXPECT_EQ(find("name"), "first");
  ASSERT_OK(set("name", "second"));
  EXPECT_EQ(find("name"), "second");
  EXPECT_EQ(find("other"), "");
}

}  // namespace backup::storage
