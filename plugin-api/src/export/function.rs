//! From an author's function to one that the host can call: which arguments it takes, in which order, and what it
//! answers.
//!
//! What a function takes is found out in two steps, so that each mistake is told as what it is. First [`signature`] names
//! the types of its arguments and of its result, whatever they are, and each of them says which part it would play: by
//! value the payload, by `&mut` what the block shares, by `&` the call. Then [`Function`] has one implementation for
//! each order of parts that there may be, and each part has a trait that says what is wrong with it.

use std::marker::PhantomData;

use super::{AnswerBody, AnswerWriter, Invocation};
use crate::{context::Call, jobber::Refusal, payload::Payload};

/// A function that can serve a request type. `H` is what its block shares, `Parts` are what its arguments and its result
/// play. It takes, in this order and each if it wants to: the payload, `&mut H`, `&Call`.
#[diagnostic::on_unimplemented(
    message = "the arguments of a function come in this order, each if it wants to: the payload, `&mut` of what its \
               block shares, `&Call`",
    label = "its arguments are others, or come in another order",
    note = "as in `fn get(ask: Get, hall: &mut Numbers, call: &Call) -> Answer<Got>`"
)]
pub trait Function<H, Parts>: Send + Sync + 'static {
    #[doc(hidden)]
    fn run(
        &self,
        invocation: &Invocation<'_>,
        handle: &mut H,
        writer: &mut AnswerWriter<'_>,
    ) -> Result<(), Refusal>;
}

/// What functions of one block share.
#[diagnostic::on_unimplemented(
    message = "the functions of this block share `{H}`, not `{Self}`",
    label = "it takes `&mut {Self}`",
    note = "`state` and `memory` blocks share what stands before `=>`, a tuple if it is one; a `stateless` block shares \
            nothing, `()`"
)]
pub trait Shared<H> {
    #[doc(hidden)]
    fn of(handle: &mut H) -> &mut Self;
}

impl<H> Shared<H> for H {
    fn of(handle: &mut H) -> &mut Self {
        handle
    }
}

/// What a function may only look at.
#[diagnostic::on_unimplemented(
    message = "a function takes no `&{Self}`: by `&` there is `&Call` and nothing else",
    label = "it takes `&{Self}`",
    note = "a payload is taken by value; what a function needs of the configuration stands beside its state, as \
            `Setting::new(…)` in a tuple, or in the value of a `memory` block"
)]
pub trait Facts {
    #[doc(hidden)]
    fn of(call: &Call) -> &Self;
}

impl Facts for Call {
    fn of(call: &Call) -> &Self {
        call
    }
}

/// What a function returns.
#[diagnostic::on_unimplemented(
    message = "a function returns `Answer<…>`, not `{Self}`",
    label = "it returns `{Self}`",
    note = "`Answer<T>` is `Result<T, Refusal>`: return `Ok(…)` or `Err(Refusal::new(…))`"
)]
pub trait Outcome {
    #[doc(hidden)]
    type Body: AnswerBody;

    #[doc(hidden)]
    fn answer(self) -> Result<Self::Body, Refusal>;
}

impl<T: AnswerBody, E: Refuses> Outcome for Result<T, E> {
    type Body = T;

    fn answer(self) -> Result<T, Refusal> {
        self.map_err(E::refusal)
    }
}

/// How a function says no.
#[diagnostic::on_unimplemented(
    message = "a function refuses with a `Refusal`, not with `{Self}`",
    label = "it returns `Result<_, {Self}>`, expected `Answer<_>`, which is `Result<_, Refusal>`",
    note = "`Refusal::new(\"sold_out\", sentence)` has a code for programs and a sentence for people; \
            `.map_err(|error| Refusal::new(\"…\", error.to_string()))` makes one of another error"
)]
pub trait Refuses {
    #[doc(hidden)]
    fn refusal(self) -> Refusal;
}

impl Refuses for Refusal {
    fn refusal(self) -> Refusal {
        self
    }
}

/// A result that is there when the function returns.
#[diagnostic::on_unimplemented(
    message = "a function that serves a type is not `async`: nobody would poll what it returns",
    label = "it returns a future",
    note = "take `async` out; what has to wait stands in a block without `inline` and waits there, or hands its work to a \
            runtime of your own, kept in a `memory` block"
)]
pub trait Finished {
    #[doc(hidden)]
    fn never() -> Refusal;
}

/// An argument or a result of a function, before it is known which part it plays.
pub struct Probe<T>(PhantomData<T>);

/// An argument that is not there.
pub struct Absent;
/// An argument that is taken by value: the payload.
pub struct ByValue<T>(PhantomData<T>);
/// An argument that is taken by `&mut`: what the block shares.
pub struct ByMut<T: ?Sized>(PhantomData<T>);
/// An argument that is taken by `&`: the call.
pub struct ByRef<T: ?Sized>(PhantomData<T>);
/// What a function returns.
pub struct Returns<T>(PhantomData<T>);
/// What a function returns before it is there.
pub struct ReturnsLater<T>(PhantomData<T>);

macro_rules! part {
    ($([$($generics:tt)*] $type:ty: $part:ident => $kind:ty = $value:expr;)+) => {$(
        impl<$($generics)*> Probe<$type> {
            /// Which part it plays.
            pub fn $part(&self) -> $kind {
                $value
            }
        }
    )+};
}
part! {
    [] Absent: argument => Absent = Absent;
    [T: ?Sized] &mut T: argument => ByMut<T> = ByMut(PhantomData);
    [T: ?Sized] &T: argument => ByRef<T> = ByRef(PhantomData);
    [T, E] Result<T, E>: result => Returns<Result<T, E>> = Returns(PhantomData);
}

/// Of an argument that is no reference. What `Probe` has itself comes first.
pub trait ArgumentByValue<T> {
    /// Which part it plays.
    fn argument(&self) -> ByValue<T> {
        ByValue(PhantomData)
    }
}
impl<T> ArgumentByValue<T> for Probe<T> {}

/// Of a result that is a future.
pub trait LaterResult<T> {
    /// Which part it plays.
    fn result(&self) -> ReturnsLater<T> {
        ReturnsLater(PhantomData)
    }
}
impl<T: Future> LaterResult<T> for Probe<T> {}

/// Of a result that is anything else: behind one more reference, where the compiler looks last.
pub trait OtherResult<T> {
    /// Which part it plays.
    fn result(&self) -> Returns<T> {
        Returns(PhantomData)
    }
}
impl<T> OtherResult<T> for &Probe<T> {}

/// Stands for the third argument of those that have more.
pub struct TooMany;

/// A function, whatever its arguments are.
#[diagnostic::on_unimplemented(
    message = "a type is served by a function",
    label = "this is none",
    note = "it takes, in this order and each if it wants to: the payload, `&mut` of what its block shares, `&Call`"
)]
pub trait Signature<Arguments, R> {}

/// The arguments of a function, and `Absent` for those that it does not have.
pub trait Arguments {
    #[doc(hidden)]
    type First;
    #[doc(hidden)]
    type Second;
    #[doc(hidden)]
    type Third;
}

macro_rules! signature {
    ($($argument:ident)*; $first:ty, $second:ty, $third:ty) => {
        impl<Func, $($argument,)* R> Signature<($($argument,)*), R> for Func
        where
            Func: Fn($($argument),*) -> R,
        {
        }

        impl<$($argument),*> Arguments for ($($argument,)*) {
            type First = $first;
            type Second = $second;
            type Third = $third;
        }
    };
}
signature!(; Absent, Absent, Absent);
signature!(A; A, Absent, Absent);
signature!(A B; A, B, Absent);
signature!(A B C; A, B, C);
// Those that have too many are told of it like those that have wrong ones.
signature!(A B C D; A, B, TooMany);
signature!(A B C D E; A, B, TooMany);

/// The arguments of a function, and its result.
pub type Probes<A, R> = (
    Probe<<A as Arguments>::First>,
    Probe<<A as Arguments>::Second>,
    Probe<<A as Arguments>::Third>,
    Probe<R>,
);

/// Names what a function takes and returns.
pub fn signature<A: Arguments, R>(_: &impl Signature<A, R>) -> Probes<A, R> {
    (
        Probe(PhantomData),
        Probe(PhantomData),
        Probe(PhantomData),
        Probe(PhantomData),
    )
}

macro_rules! function {
    (($($payload:ident)?) ($($shared:ident)?) ($($facts:ident)?): $($part:ty),+) => {
        impl<H, F, $($payload,)? $($shared: ?Sized,)? $($facts: ?Sized,)? R>
            Function<H, (($($part,)+), Returns<R>)> for F
        where
            F: Fn($($payload,)? $(&mut $shared,)? $(&$facts)?) -> R + Send + Sync + 'static,
            $($payload: Payload,)?
            $($shared: Shared<H>,)?
            $($facts: Facts,)?
            R: Outcome,
        {
            #[allow(unused_variables, reason = "not every function takes every argument")]
            fn run(
                &self,
                invocation: &Invocation<'_>,
                handle: &mut H,
                writer: &mut AnswerWriter<'_>,
            ) -> Result<(), Refusal> {
                self(
                    $(<$payload>::read(invocation.payload)?,)?
                    $(<$shared>::of(handle),)?
                    $(<$facts>::of(&invocation.host.call()))?
                )
                .answer()?
                .write(writer);
                Ok(())
            }
        }
    };
}
function!(() () (): Absent, Absent, Absent);
function!((P) () (): ByValue<P>, Absent, Absent);
function!((P) (S) (): ByValue<P>, ByMut<S>, Absent);
function!((P) (S) (C): ByValue<P>, ByMut<S>, ByRef<C>);
function!((P) () (C): ByValue<P>, ByRef<C>, Absent);
function!(() () (C): ByRef<C>, Absent, Absent);
function!(() (S) (): ByMut<S>, Absent, Absent);
function!(() (S) (C): ByMut<S>, ByRef<C>, Absent);

impl<H, F, Taken, R> Function<H, (Taken, ReturnsLater<R>)> for F
where
    F: Send + Sync + 'static,
    ReturnsLater<R>: Finished,
{
    fn run(&self, _: &Invocation<'_>, _: &mut H, _: &mut AnswerWriter<'_>) -> Result<(), Refusal> {
        Err(ReturnsLater::<R>::never())
    }
}
