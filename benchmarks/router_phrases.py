"""Turns of phrase of each domain: how people ask, where `router_terms` has what they ask about.

Written for this project from no data set. Texts of a few phrases teach the router pairs of words that carry a domain
although none of the words does: "how many" with "left", "set a" with "for".
"""

from __future__ import annotations

import random
from collections.abc import Iterator

PHRASES = {
    "general": """
        what time is it | remind me to | set a timer for | set an alarm for | wake me up at | add it to my list
        what is on my shopping list | what's the weather like | will it rain tomorrow | do i need an umbrella
        tell me a joke | make me laugh | how are you today | who made you | are you a robot | what is your name
        what should i call you | where do you live | do you have any pets | how old are you | what can you do
        play some music | next song please | turn up the volume | skip this track | what song is this
        turn off the lights | call my mom | send a text to | where is my phone | find my phone | speak slower
        say that again | repeat please | yes please | no thank you | never mind | maybe later | that's right
        good morning | see you later | thanks for your help | how do i cook | what can i substitute for
        how long do i bake | how many calories are in | is it healthy to eat | recipe for dinner tonight
        what's a good restaurant nearby | book a table for | how long is the wait at | are they open on sunday
        reviews of the place | book me a flight to | cancel my hotel reservation | how far is it to
        give me directions to | how is the traffic | order me a taxi | when is my next meeting | clear my calendar
        what is today's date | is it a holiday | plan a trip to | what should i pack | do i need a visa for
        which vaccinations do i need to travel to | lost my luggage | flight status | what's the time difference
        flip a coin | roll the dice | pick a number | how do you spell | what is the meaning of the word
        what does that mean | change the language | how much gas is left | when is my oil change due
        what kind of fuel does my car need | tire pressure low | jump start a car | schedule car maintenance
        days off do i have | request vacation days | was my leave approved | who sends the w-2 | when is payday
        my day was awful | i am bored | what should i wear | gift ideas for | best movies to watch
        turn on the tv | mute | start vacuuming | share my location | sync with my phone | reset the settings
        change your name to | use an accent | tell me something interesting | a fun fact | what is the meaning of life
        where is my order | track my package | reorder the same | how many cups in | what ingredients are in
        """,
    "technical": """
        how do i configure | won't turn on | keeps disconnecting | cannot connect to | error when i boot
        how to set up a | what is the difference between a switch and a | how does the protocol | how to reset the
        which port does | blue screen after | driver not found | slow internet on | upgrade the firmware
        the current through the resistor | the output voltage of | the circuit shown | transfer function of
        an attacker can | encrypted with the key | the buffer overflow | denial of service | security property
        which type of attack | signal to noise ratio | the impedance of | the transmission line | closed loop system
        three-phase motor | the gain of the amplifier | number of bits | flip-flop | logic gate | truth table
        memory address | the cpu cache | page fault | packet loss | load balancer | container fails to start
        out of disk space | permission denied when | ssh into the server | the stress in the beam | a dc generator
        a machine has | the armature | the efficiency of the pump | how do i tune the | replace the battery of
        """,
    "coding": """
        write a function that | write a script to | write a class that | how do i fix this error | here is my code
        this code throws | returns none instead of | unit tests for | refactor this | review this pull request
        convert this code from | what does this function do | explain this snippet | time complexity of
        the running time of | worst-case complexity | index out of range | undefined is not a function
        given a list of | given a string | given an array of integers | return the number of | return true if
        the following program | the value of x after | what is printed by | the loop executes | a binary search tree
        hash table with | linked list | the output of the code | a regular expression for | join two tables
        select all rows where | parse the json | async function | memory leak in | null pointer exception
        compile error | type hints for | def solution | for i in range | stack trace | a grammar is ambiguous
        the training error of | decision tree | gradient descent | overfitting the training data | k nearest neighbors
        the classifier | neural network with | the weights of the | a finite automaton | np-complete | deadlock
        """,
    "math": """
        how many does she have left | how many are left | how many more | how much did he pay in total
        how much money does she | how much will it cost | how many in total | how many altogether
        twice as many as | three times as many | half as many as | half of them | a third of the
        twice as old as | in how many years will | how old is he | how long will it take | how many minutes
        how many hours does | how many days will | how many pages | how many miles did | how many people
        each of the | each one costs | each box holds | every day for a week | per day | per week | dollars each
        sold for | bought for | gave away | shared equally among | the rest of the | the remaining | left over
        if she has | if he buys | he then gives | she then adds | there are twice | 10 percent of | 20% off
        what is the total number of | what is the average | what percentage of | on monday she | on tuesday he
        the first day | the second week | the sum of | the product of | the difference between | less than twice
        solve for x | prove that | find all | find the value of | find the number of | let f be | let n be a
        for all real numbers | the area of the triangle | the perimeter of | the probability that | is divisible by
        the remainder when | how many ways | the order of the group | is isomorphic to | the derivative of
        the integral of | converges to | the degree of the | the roots of the | the graph of | the slope of the line
        the mean and standard deviation | sample of size | confidence interval | random variable | null hypothesis
        the vector space | the ring of | continuous function on | simplify the expression | what is the next number
        """,
    "science": """
        which of the following elements | the reaction of | is an example of a | the mass of | the speed of light
        the frequency of | the wavelength of | the kinetic energy of | how do plants | why is the sky | what causes
        the half-life of | the structure of the | in the periodic table | an acid with | moles of | the ph of
        the ground state of | the charge on | a force of | newtons | is accelerated | is thrown | moving with velocity
        an ideal gas | at constant temperature | the surface of the planet
        the orbit of | how far away is | the evolution of
        natural selection | in the cell | the function of the
        chromosomes | the genotype | population of | food chain
        produced by | bond between | the oxidation state | dissolved in water | the magnetic field | an object falls
        is the result of | the earth's | the sun and the moon | the age of | fossils show | the brain of
        """,
    "medical": """
        a patient presents with | year-old man with | year-old woman with | comes to the physician | the patient's
        what are the symptoms of | side effects of | how is it treated | is it safe to take | should i see a doctor
        i have had a pain in my | it hurts when i | my blood pressure is | the most likely diagnosis
        the most appropriate treatment | physical examination shows
        laboratory studies | mg per day | risk factors for
        the nerve that supplies | the muscle that | is innervated by
        the artery | deficiency of | caused by a mutation
        in the elderly | the nurse should | older adults | the drug of choice | contraindicated in | recovery after
        the vaccine | the infection is transmitted | autosomal dominant
        muscle fibres | during exercise | energy for the
        the ageing process | stage of grief | sexual | the therapist | depression and | of the disorder | the client
        food that contains | vitamin | dietary intake
        body mass index | insulin | virus replication | immune response
        """,
    "legal": """
        a man was charged with | the defendant moved to | the plaintiff sued | the owner of the land | conveyed the
        will the court | is liable for | breach of | is guilty of | the prosecution | the statute provides
        can my landlord | can i sue | is it legal to | do i need a lawyer | my employer refuses | under the law
        what are my rights | the contract states | agreed in writing to | the buyer and the seller | objected to the
        the judge should rule | admissible as | the jury | the supreme court | violates the | the constitution
        the treaty | international law | states may
        human rights | the doctrine of | legal theory | the philosopher of law
        natural law | the tenant | in his will | the deed | an easement | negligence action | motion to dismiss
        terms of service | non-disclosure agreement | custody of | the police searched | the officer arrested
        """,
    "finance": """
        what is my balance | how much money do i have | transfer money from | pay my bill | when is my bill due
        my card was declined | my card is missing | i lost my card
        report a stolen card | new card arrive | top up my account
        top-up failed | pending transfer | wrong exchange rate | charged a fee | charged twice | refund not showing
        cash withdrawal | the atm kept | change my pin | verify my identity | activate my card | virtual card
        what is my credit score | credit limit | apply for a loan
        interest rate on | routing number | freeze my account
        how much did i spend on | order checks | is my account blocked
        report fraud | roll over my | retirement account
        minimum payment | rewards points | apr on my card
        how do i invest | which stocks | file my taxes | tax deduction
        the price elasticity of | aggregate demand | the money supply | the federal reserve | in a competitive market
        marginal cost | marginal revenue | a monopolist | in the long run | in the short run | real gdp | the firm
        a decrease in the price | will shift | the balance sheet | net income | cost of goods sold | journal entry
        the market segment | the consumer's | brand
        distribution channel | the manager | leadership | the organization
        customer | regression residuals | heteroscedasticity | the estimator | time series | stationary
        """,
    "creative": """
        write a story about | write a poem about | a haiku about | continue the story | pretend you are | act as
        you are a pirate | in the style of | once upon a time | rewrite this scene | come up with names for
        a slogan for | song lyrics about | a limerick | first chapter of | plot twist | describe the castle
        a dialogue between | a villain who | make it rhyme | opening line for | character backstory | fan fiction
        let's play a role-playing game | she whispered | he turned to the | narrate | a monologue | a bedtime story
        short story in which | write it from the point of view | a love letter | brainstorm titles | world building
        """,
    "multilingual": """
        translate this into | translate to english | how do you say in french | how do i say in spanish
        what does this german word mean | conjugate the verb | correct my grammar in | in japanese | in portuguese
        que es | cuál es la | cuántos | por qué | cómo puedo | quiero | necesito | ayúdame | dime | explica
        quelle est la | combien de | pourquoi | comment
        je voudrais | est-ce que | expliquez | donne moi | qu'est-ce que
        was ist | wie viele | warum | ich möchte | kannst du | bitte erkläre | wie kann ich | wer hat | wo ist
        qual è il | quanti | perché | vorrei | come posso | quantos | por que | como posso | eu quero | o que é
        hoeveel | waarom | hoe kan ik | ile kosztuje | dlaczego | jak mogę | hur många | varför | kuinka monta
        kaç tane | neden | nasıl | berapa banyak | mengapa | bagaimana cara | ni ngapi | kwa nini | kila mmoja | je ni
        jumla ya | siku | wiki | сколько | почему | как мне | что такое | πόσα | γιατί | كم عدد | لماذا | כמה | למה
        """,
}


def phrases(domain: str) -> list[str]:
    """The domain's phrases."""
    lines = (line.strip() for line in PHRASES.get(domain, "").splitlines())
    return [phrase.strip() for line in lines if line for phrase in line.split("|") if phrase.strip()]


def phrase_texts() -> Iterator[tuple[str, str]]:
    """Each phrase by itself and before another one of its domain; the same ones every time."""
    chosen = random.Random(7)
    for domain in PHRASES:
        found = phrases(domain)
        for phrase in found:
            yield phrase, domain
            yield f"{phrase} {chosen.choice(found)}", domain
