// A doubly linked list whose links live in the elements: no allocation, O(1) removal.
//
//   struct Waiter : ListNode<Waiter> { ... };
//   IntrusiveList<Waiter> waiters;
//
// An element is in at most one list per ListNode base. The list does not own its elements; an element
// is unlinked before it dies (nodes are trivially destructible, so that they can live in an Arena).
#pragma once

#include <cstddef>

#include "esc/base/assert.h"

namespace esc {

template <class T>
class IntrusiveList;

template <class T>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  [[nodiscard]] bool linked() const { return next_ != nullptr; }
  // Removes the element from whichever list holds it.
  void unlink() {
    ESC_ASSERT(linked());
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

 private:
  friend class IntrusiveList<T>;
  ListNode* next_ = nullptr;
  ListNode* prev_ = nullptr;
};

template <class T>
class IntrusiveList {
 public:
  IntrusiveList() { head_.next_ = head_.prev_ = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    while (!empty()) pop_front();
    head_.next_ = head_.prev_ = nullptr;
  }

  [[nodiscard]] bool empty() const { return head_.next_ == &head_; }
  [[nodiscard]] T& front() {
    ESC_ASSERT(!empty());
    return static_cast<T&>(*head_.next_);
  }
  void push_back(T& element) {
    ListNode<T>& node = element;
    ESC_ASSERT(!node.linked());
    node.prev_ = head_.prev_;
    node.next_ = &head_;
    head_.prev_->next_ = &node;
    head_.prev_ = &node;
  }
  void push_front(T& element) {
    ListNode<T>& node = element;
    ESC_ASSERT(!node.linked());
    node.next_ = head_.next_;
    node.prev_ = &head_;
    head_.next_->prev_ = &node;
    head_.next_ = &node;
  }
  T& pop_front() {
    T& element = front();
    static_cast<ListNode<T>&>(element).unlink();
    return element;
  }
  // Calls f(T&) for each; f may unlink the element it is given, but no other.
  template <class F>
  void for_each(F&& f) {
    for (ListNode<T>* node = head_.next_; node != &head_;) {
      ListNode<T>* next = node->next_;
      f(static_cast<T&>(*node));
      node = next;
    }
  }

 private:
  ListNode<T> head_;
};

}  // namespace esc
